//! A verdict that begins between two layers is the whole one.

use std::sync::atomic::AtomicBool;

use hardtack_converter::calibrate::*;
use hardtack_testing::{fixture, references};

#[test]
fn a_change_is_judged_from_its_own_layer_on() {
    let Some(folder) = fixture("qwen3_moe") else { return };
    let model = Model::open(&folder).unwrap();
    let tokens = references(&folder).into_iter().map(|reference| reference.prompt).collect();
    let texts = [Domain { name: "text".to_owned(), hash: String::new(), tokens }];
    let (scratch, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    let settings = Settings::new(scratch.path(), &stop);
    let judge = Judge::new(&model, &texts, &settings, &mut |_| ()).unwrap();

    let (layers, windows) = (model.spec().layers.len(), texts[0].tokens.len());
    let last = layers - 1;
    let mut routers = model.routers().unwrap();
    let gate = routers[last].as_mut().expect("a gate");
    gate.weights = gate.weights.neg().unwrap();
    let changed = model.with_routers(routers);
    let whole = judge.judge(&changed, &mut |_| ()).unwrap();
    assert!(whole[0].divergence > 1e-6 && whole[0].changed != whole[0].exact, "{whole:?}");

    // The layers before it are the checkpoint's own, whether at once or one by one.
    for steps in [vec![last], (0..=last).collect()] {
        let mut stream = judge.begin(&model).unwrap();
        let mut shown = Vec::new();
        for layer in steps {
            judge.advance(&mut stream, layer, &model, &mut |own| shown.push(own.done)).unwrap();
        }
        assert_eq!(shown.len(), last * windows);
        let mut shown = Vec::new();
        let found = judge
            .judge_from(stream.clone(), &changed, &mut |own| shown.push((own.done, own.total)))
            .unwrap();
        assert_eq!(found, whole);
        assert_eq!(shown.last(), Some(&(windows as u64, windows as u64)), "one layer is left");
        let same = judge.judge_from(stream, &model, &mut |_| ()).unwrap();
        assert_eq!((same[0].divergence, same[0].changed), (0.0, same[0].exact));
    }
}

/// A bake printed "baked NaN, divergence NaN" and ended well: `NaN < x` is false, so nothing seemed
/// wrong.
#[test]
fn a_verdict_that_is_no_number_is_an_error() {
    let model =
        Model::open(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/crumb"))
            .unwrap();
    let tokens = vec![(5..25).collect(), (40..60).collect()];
    let texts = [Domain { name: "short".to_owned(), hash: String::new(), tokens }];
    let (scratch, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    let settings = Settings { domain_tokens_min: 8, ..Settings::new(scratch.path(), &stop) };
    let judge = Judge::new(&model, &texts, &settings, &mut |_| ()).unwrap();
    let mut routers = model.routers().unwrap();
    let gate = routers.iter_mut().flatten().next().expect("a mixture of experts");
    gate.weights = (&gate.weights * f64::NAN).unwrap();
    let damaged = model.with_routers(routers);
    let error = judge.judge(&damaged, &mut |_| ()).unwrap_err();
    assert!(matches!(error, CalibrateError::NotFinite { .. }), "{error}");
    let line = error.to_string();
    for word in ["text short", "the changed model's loss", "found NaN"] {
        assert!(line.contains(word), "no {word:?} in {line:?}");
    }
    // And a checkpoint that is damaged itself is refused before anything is made of it.
    let Err(error) = Judge::new(&damaged, &texts, &settings, &mut |_| ()) else {
        panic!("a judge of nothing")
    };
    assert!(error.to_string().contains("the checkpoint's loss"), "{error}");
}
