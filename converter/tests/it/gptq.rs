//! Quantization with feedback: equal to plain rounding where nothing is correlated, better where it
//! is, and what the blob decodes.

use crate::gptq_support::Normal;
use hardtack_converter::quantize::{
    DAMPING, Feedback, GptqError, Hessian, HessianError, encode_rows, quantize,
};
use hardtack_format::Encoding;
use hardtack_format::encoding::PANEL_ROWS;
use hardtack_kernels::pack::unpack_row;

const CODES: [Encoding; 6] =
    [Encoding::Q2, Encoding::Q3, Encoding::Q4, Encoding::Q5, Encoding::Q6, Encoding::Q8];

fn bits(encoding: Encoding) -> u32 {
    encoding.code_bits().unwrap()
}

/// Whatever the kernels would read from these panels, `[rows, columns]`.
fn decode(encoding: Encoding, panels: &[u8], rows: usize, columns: usize) -> Vec<f32> {
    let mut all = vec![0.0; rows * columns];
    let panel_bytes = encoding.panel_bytes(columns as u32) as usize;
    for (row, out) in all.chunks_exact_mut(columns).enumerate() {
        unpack_row(
            encoding,
            &panels[row / PANEL_ROWS * panel_bytes..][..panel_bytes],
            row % PANEL_ROWS,
            out,
        );
    }
    all
}

fn hessian(columns: usize, activations: &[f32]) -> Hessian {
    let mut hessian = Hessian::new(columns);
    hessian.add(activations, None).unwrap();
    hessian
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// Error of the outputs with feedback, relative to that of plain rounding.
fn relative_error(weights: &[f32], hessian: &Hessian, encoding: Encoding) -> f64 {
    let columns = hessian.columns();
    let feedback = Feedback::new(hessian, None, DAMPING).unwrap();
    assert_eq!(feedback.damping(), Some(DAMPING));
    let found = quantize(weights, bits(encoding), &feedback).unwrap().weights();
    let panels = encode_rows(encoding, weights, columns).unwrap();
    let plain = decode(encoding, &panels, weights.len() / columns, columns);
    hessian.error(&difference(weights, &found)) / hessian.error(&difference(weights, &plain))
}

#[test]
fn uncorrelated_inputs_give_plain_rounding() {
    for (rows, columns) in [(1, 1), (16, 64), (33, 200)] {
        let weights = Normal::new(1).many(rows * columns);
        let mut identity = vec![0.0; columns * columns];
        identity.iter_mut().step_by(columns + 1).for_each(|entry| *entry = 1.0);
        let feedback = Feedback::new(&hessian(columns, &identity), None, DAMPING).unwrap();
        assert_eq!(feedback.damping(), Some(DAMPING));
        for encoding in CODES {
            let found = quantize(&weights, bits(encoding), &feedback).unwrap();
            assert_eq!(
                found.encode(encoding),
                encode_rows(encoding, &weights, columns).unwrap(),
                "{}",
                encoding.name()
            );
        }
    }
}

#[test]
fn correlated_inputs_lose_much_less() {
    let mut normal = Normal::new(2);
    let (rows, columns) = (48, 320);
    let weights = normal.many(rows * columns);
    let hessian = hessian(columns, &normal.correlated(2000, columns, 0.9));
    for encoding in CODES {
        let relative = relative_error(&weights, &hessian, encoding);
        println!("{}: {relative:.3} of the plain error", encoding.name());
        assert!(relative < 0.8, "{}: {relative}", encoding.name());
    }
}

#[test]
fn columns_of_very_different_size_do_not_lose() {
    let mut normal = Normal::new(3);
    let (rows, columns) = (32, 192);
    let weights = normal.many(rows * columns);
    let mut activations = normal.correlated(1500, columns, 0.5);
    for token in activations.chunks_exact_mut(columns) {
        token.iter_mut().step_by(17).for_each(|number| *number *= 8.0);
    }
    for encoding in CODES {
        let relative = relative_error(&weights, &hessian(columns, &activations), encoding);
        println!("{}: {relative:.3} of the plain error", encoding.name());
        assert!(relative < 0.7, "{}: {relative}", encoding.name());
    }
}

#[test]
fn the_blob_decodes_to_the_weights_that_were_believed_in() {
    let mut normal = Normal::new(4);
    for (rows, columns) in [(16, 64), (37, 130), (5, 63)] {
        let weights = normal.many(rows * columns);
        let feedback =
            Feedback::new(&hessian(columns, &normal.correlated(400, columns, 0.8)), None, DAMPING)
                .unwrap();
        for encoding in CODES {
            let found = quantize(&weights, bits(encoding), &feedback).unwrap();
            assert_eq!(found.weights(), decode(encoding, &found.encode(encoding), rows, columns));
        }
        // Two levels, for which there is no encoding yet.
        let found = quantize(&weights, 1, &feedback).unwrap().weights();
        for (row, found) in found.chunks_exact(columns).enumerate() {
            let mut levels: Vec<u32> =
                found[..columns.min(64)].iter().map(|weight| weight.to_bits()).collect();
            levels.sort_unstable();
            levels.dedup();
            assert!(levels.len() <= 2, "row {row}");
        }
    }
}

#[test]
fn columns_that_no_token_used_keep_their_weights() {
    let mut normal = Normal::new(5);
    let (rows, columns) = (16, 128);
    let weights = normal.many(rows * columns);
    let mut activations = normal.correlated(600, columns, 0.9);
    let dead = [0, 70, 127];
    for token in activations.chunks_exact_mut(columns) {
        dead.iter().for_each(|&column| token[column] = 0.0);
    }
    let feedback = Feedback::new(&hessian(columns, &activations), None, DAMPING).unwrap();
    let found = quantize(&weights, 4, &feedback).unwrap().weights();
    for row in 0..rows {
        for column in dead {
            let (weight, found) = (weights[row * columns + column], found[row * columns + column]);
            // Steps are about 0.35; outside the searched range a weight takes its end.
            assert!(
                (weight - found).abs() < 0.2 || weight.abs() > 1.5,
                "{row}, {column}: {weight} {found}"
            );
        }
    }
}

#[test]
fn starved_experts_borrow_from_their_layer() {
    let mut normal = Normal::new(6);
    let (rows, columns) = (32, 256);
    let weights = normal.many(rows * columns);
    let layer = hessian(columns, &normal.correlated(4000, columns, 0.9));
    let starved = hessian(columns, &normal.correlated(6, columns, 0.9));
    assert!(starved.is_starved() && !layer.is_starved());
    let error = |feedback: &Feedback| {
        let found = quantize(&weights, 3, feedback).unwrap().weights();
        layer.error(&difference(&weights, &found))
    };
    let alone = error(&Feedback::new(&starved, None, DAMPING).unwrap());
    let helped = error(&Feedback::new(&starved, Some(&layer), DAMPING).unwrap());
    let plain = error(&Feedback::none(columns));
    println!(
        "starved: {:.3} alone, {:.3} with its layer, of the plain error",
        alone / plain,
        helped / plain
    );
    assert!(helped < alone && helped < 0.8 * plain);
    // With enough tokens the layer is left out.
    let fed = hessian(columns, &normal.correlated(64, columns, 0.9));
    let with_layer = quantize(&weights, 3, &Feedback::new(&fed, Some(&layer), DAMPING).unwrap());
    assert_eq!(with_layer, quantize(&weights, 3, &Feedback::new(&fed, None, DAMPING).unwrap()));
    // Nobody has seen a token.
    let nothing =
        Feedback::new(&Hessian::new(columns), Some(&Hessian::new(columns)), DAMPING).unwrap();
    assert_eq!(nothing.damping(), None);
    let plain = encode_rows(Encoding::Q3, &weights, columns).unwrap();
    assert_eq!(quantize(&weights, 3, &nothing).unwrap().encode(Encoding::Q3), plain);
}

#[test]
fn damping_is_raised_before_feedback_is_given_up() {
    let mut normal = Normal::new(7);
    let columns = 96;
    // Five tokens for 96 columns: singular but for the damping, which is too small to be seen
    // beside rounding.
    let few = hessian(columns, &normal.many(5 * columns));
    let damping = Feedback::new(&few, None, 1e-9).unwrap().damping();
    assert!(damping.is_none_or(|damping| damping > 1e-9), "{damping:?}");
    assert_eq!(Feedback::new(&few, None, DAMPING).unwrap().damping(), Some(DAMPING));
}

#[test]
fn batches_merge_and_weights_count() {
    let mut normal = Normal::new(8);
    let columns = 150;
    let activations = normal.many(40 * columns);
    let whole = hessian(columns, &activations);
    let (first, second) = activations.split_at(13 * columns);
    let mut merged = hessian(columns, first);
    merged.merge(&hessian(columns, second));
    let (mut doubled, mut weighted) = (whole.clone(), Hessian::new(columns));
    doubled.merge(&whole);
    weighted.add(&activations, Some(&[2.0; 40])).unwrap();
    assert_eq!(
        (whole.tokens(), merged.tokens(), doubled.tokens(), weighted.tokens()),
        (40, 40, 80, 40)
    );
    for (row, column) in [(0, 0), (149, 3), (3, 149), (128, 127), (64, 64)] {
        let exact: f64 = activations
            .chunks_exact(columns)
            .map(|token| f64::from(token[row]) * f64::from(token[column]))
            .sum();
        for (found, times) in [(&whole, 1.0), (&merged, 1.0), (&doubled, 2.0), (&weighted, 2.0)] {
            assert!(
                (f64::from(found.at(row, column)) - times * exact).abs() < 1e-3,
                "{row}, {column}"
            );
        }
    }
}

#[test]
fn broken_input_is_named() {
    let columns = 70;
    let mut numbers = vec![1.0f32; 3 * columns];
    let mut hessian = Hessian::new(columns);
    assert!(matches!(
        hessian.add(&numbers, Some(&[1.0, -1.0, 1.0])).unwrap_err(),
        HessianError::TokenWeight { token: 1, .. }
    ));
    for bad in [f32::NAN, f32::INFINITY] {
        numbers[2 * columns + 69] = bad;
        let error = hessian.add(&numbers, None).unwrap_err();
        assert!(matches!(error, HessianError::Activation { token: 2, column: 69, .. }), "{error}");
    }
    assert_eq!(hessian.tokens(), 0);
    // Finite activations whose squares are not.
    let mut large = vec![0.0; columns];
    large[5] = 1e30;
    hessian.add(&large, None).unwrap();
    let error = Feedback::new(&hessian, None, DAMPING).unwrap_err();
    assert!(matches!(error, HessianError::Entry { row: 5, column: 5, .. }), "{error}");
    for bad in [f32::NAN, f32::NEG_INFINITY, 70_000.0] {
        let mut weights = vec![0.5; 4 * columns];
        weights[columns + 3] = bad;
        let error = quantize(&weights, 4, &Feedback::none(columns)).unwrap_err();
        assert!(matches!(error, GptqError::Weight { row: 1, column: 3, .. }), "{error}");
    }
}
