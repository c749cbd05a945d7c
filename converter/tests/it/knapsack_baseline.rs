//! What an allocation is compared with: never better than it, and what the definitions say.

use crate::knapsack_support::{Numbers, Shape, instance};
use hardtack_converter::knapsack::{
    AllocateError, Candidate, Pattern, per_layer, solve, uniform_average, uniform_within,
};

const LAYERS: u32 = 12;
const EXPERTS: u32 = 16;

fn model() -> (Vec<Vec<Candidate>>, Vec<u32>) {
    let items = instance(&mut Numbers::new(9), (LAYERS * EXPERTS) as usize, 4, Shape::Equal);
    (items, (0..LAYERS * EXPERTS).map(|item| item / EXPERTS).collect())
}

#[test]
fn the_whole_model_beats_layers_beat_one_precision() {
    let (items, layers) = model();
    for average in [1.5, 2.0, 2.5, 3.0, 3.25] {
        let first = uniform_average(&items, &layers, average, Pattern::First).unwrap();
        let spread = uniform_average(&items, &layers, average, Pattern::Spread).unwrap();
        assert_eq!(first.bytes, spread.bytes);
        let of_layers = per_layer(&items, &layers, first.bytes).unwrap();
        let of_all = solve(&items, first.bytes).unwrap();
        assert!(of_layers.bytes <= first.bytes);
        assert!(
            of_all.bound <= of_all.cost
                && of_all.cost <= of_layers.cost
                && of_all.cost <= first.cost
        );
        assert!(of_all.cost <= spread.cost, "{average}");
    }
}

#[test]
fn averages_are_made_of_whole_layers() {
    let (items, layers) = model();
    let bits_of = |average, pattern| -> Vec<u32> {
        let picks = uniform_average(&items, &layers, average, pattern).unwrap().picks;
        (0..items.len())
            .step_by(EXPERTS as usize)
            .map(|item| items[item][picks[item]].bits)
            .collect()
    };
    assert_eq!(bits_of(2.5, Pattern::First), [3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2]);
    assert_eq!(bits_of(2.25, Pattern::Spread), [2, 2, 2, 3, 2, 2, 2, 3, 2, 2, 2, 3]);
    assert_eq!(bits_of(2.3, Pattern::First).iter().sum::<u32>(), 27, "never above the average");
    assert_eq!(bits_of(2.0, Pattern::Spread), [2; 12]);
    for average in [0.9, 4.1, f64::NAN] {
        let error = uniform_average(&items, &layers, average, Pattern::First).unwrap_err();
        assert!(matches!(error, AllocateError::Average { .. }), "{error}");
    }
}

#[test]
fn one_precision_is_the_most_that_fits() {
    let (items, _) = model();
    let bytes_at = |bits: u32| items.iter().map(|own| own[bits as usize - 1].bytes).sum::<u64>();
    assert_eq!(uniform_within(&items, bytes_at(3)).unwrap().bytes, bytes_at(3));
    assert_eq!(uniform_within(&items, bytes_at(3) - 1).unwrap().bytes, bytes_at(2));
    let (budget, smallest) = (bytes_at(1) - 1, bytes_at(1));
    assert_eq!(
        uniform_within(&items, budget).unwrap_err(),
        AllocateError::Budget { budget, smallest }
    );
}

#[test]
fn layers_keep_to_their_share() {
    let (items, layers) = model();
    let least: u64 = items.iter().map(|own| own[0].bytes).sum();
    let error = per_layer(&items, &layers, least - 1).unwrap_err();
    assert_eq!(error, AllocateError::Budget { budget: least - 1, smallest: least });
    let found = per_layer(&items, &layers, least * 2).unwrap();
    for layer in 0..LAYERS as usize {
        let own = layer * 16..layer * 16 + 16;
        let bytes: u64 = own.map(|item| items[item][found.picks[item]].bytes).sum();
        assert!(bytes <= least * 2 / u64::from(LAYERS));
    }
    assert!(matches!(per_layer(&items, &layers[1..], least), Err(AllocateError::Layers { .. })));
}
