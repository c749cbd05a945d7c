//! The encodings that the example `encodings` compares: known cases, and the shipped form against
//! the converter's own.

use crate::encodings_support::{Codes, Offset, Scales, Scheme, carry};
use crate::gptq_support::Normal;
use hardtack_converter::quantize::{DAMPING, Feedback, Hessian, quantize, round_trip};
use hardtack_format::Encoding;

const COLUMNS: usize = 256;

fn weights() -> Vec<f32> {
    Normal::new(3).many(48 * COLUMNS)
}

/// Squared error, relative to the weights'.
fn error(weights: &[f32], kept: &[f32]) -> f64 {
    let square = |number: f32| f64::from(number).powi(2);
    let difference: f64 = weights.iter().zip(kept).map(|(a, b)| square(a - b)).sum();
    difference / weights.iter().map(|&weight| square(weight)).sum::<f64>()
}

fn error_of(scheme: Scheme) -> f64 {
    let weights = weights();
    error(&weights, &scheme.round(&weights, COLUMNS))
}

#[test]
fn the_shipped_form_is_the_converters_own() {
    for encoding in Encoding::MATRICES {
        let Some(bits) = encoding.code_bits() else { continue };
        let weights = weights();
        let mut expected = weights.clone();
        round_trip(encoding, &mut expected, COLUMNS).expect("fits");
        let (expected, found) = (error(&weights, &expected), error_of(Scheme::shipped(bits)));
        assert!(
            (found / expected - 1.0).abs() < 1e-3,
            "{bits} bits: {found}, the converter's {expected}"
        );
        let tile_bits = (encoding.tile_bytes() * 8) as f64 / (16.0 * 64.0);
        assert_eq!(Scheme::shipped(bits).bits_per_weight(48, COLUMNS), tile_bits);
    }
}

#[test]
fn the_others_are_where_theory_has_them() {
    // The least errors of 4, 8 and 16 levels for one normal distribution (Max 1960, table I):
    // 0.1175, 0.03454, 0.009497. A scale for each group does better than one for all, up to what it
    // costs.
    for (bits, best) in [(2, 0.1175), (3, 0.03454), (4, 0.009497)] {
        let shipped = Scheme::shipped(bits);
        let fitted = error_of(Scheme { codes: Codes::Fitted, ..shipped });
        assert!(fitted < error_of(shipped) * 1.02, "{bits} bits: fitted entries {fitted}");
        assert!(
            fitted > 0.5 * best && fitted < 1.05 * best,
            "{bits} bits: fitted entries {fitted}"
        );
        let tables = error_of(Scheme { codes: Codes::Normal, ..shipped });
        assert!(tables >= fitted, "{bits} bits: a fixed table {tables}, a fitted one {fitted}");
        let symmetric = error_of(Scheme { offset: Offset::None, ..shipped });
        assert!(symmetric > error_of(shipped), "{bits} bits: without a minimum {symmetric}");
    }
}

#[test]
fn two_levels_cost_little_and_rotation_nothing_on_normal_weights() {
    for bits in [2, 3, 4] {
        let shipped = error_of(Scheme::shipped(bits));
        for (scales, most) in
            [(Scales::Row(6), 1.04), (Scales::Tile(6), 1.04), (Scales::Tile(4), 1.3)]
        {
            let found = error_of(Scheme { scales, ..Scheme::shipped(bits) }) / shipped;
            assert!(
                (0.97..most).contains(&found),
                "{bits} bits, {scales:?}: {found} of the shipped form's error"
            );
        }
        for block in [64, 128] {
            let found =
                error_of(Scheme { rotation: Some(block), ..Scheme::shipped(bits) }) / shipped;
            assert!(
                (found - 1.0).abs() < 0.05,
                "{bits} bits, blocks of {block}: {found} of the shipped form's error"
            );
        }
    }
}

#[test]
fn bytes_are_counted_whole() {
    let shipped = Scheme::shipped(4);
    for (scheme, expected) in [
        (Scheme { offset: Offset::None, ..shipped }, 4.25),
        (Scheme { group: 32, ..shipped }, 5.0),
        (Scheme { codes: Codes::Normal, ..shipped }, 4.5),
        (Scheme { codes: Codes::Fitted, ..shipped }, 4.5 + 128.0 / 32768.0),
        (Scheme { scales: Scales::Row(6), ..shipped }, 4.0 + 12.0 / 64.0 + 32.0 / 256.0),
        (
            Scheme { scales: Scales::Tile(4), group: 32, ..shipped },
            4.0 + 8.0 / 32.0 + 32.0 / 1024.0,
        ),
    ] {
        assert_eq!(scheme.bits_per_weight(128, 256), expected, "{scheme:?}");
    }
    assert_eq!(
        Scheme { scales: Scales::Row(6), ..shipped }.bits_per_weight(256, 128),
        4.0 + 12.0 / 64.0 + 32.0 / 128.0
    );
}

#[test]
fn feedback_helps_where_inputs_resemble_each_other_as_the_converters_does() {
    let weights = weights();
    let inputs = Normal::new(5).correlated(2000, COLUMNS, 0.9);
    let seen = |inputs: &[f32]| {
        let mut hessian = Hessian::new(COLUMNS);
        hessian.add(inputs, None).expect("finite inputs");
        hessian
    };
    let hessian = seen(&inputs);
    let error = |kept: Vec<f32>| {
        hessian.error(&weights.iter().zip(kept).map(|(a, b)| a - b).collect::<Vec<f32>>())
    };
    for rotation in [None, Some(64)] {
        let scheme = Scheme { rotation, ..Scheme::shipped(3) };
        let mut turned = inputs.clone();
        scheme.turn(&mut turned, COLUMNS);
        let plain = error(scheme.round(&weights, COLUMNS));
        let found =
            error(scheme.round_with_feedback(&weights, COLUMNS, &carry(&seen(&turned)))) / plain;
        let feedback = Feedback::new(&hessian, None, DAMPING).expect("a finite Hessian");
        let converters =
            error(quantize(&weights, 3, &feedback).expect("finite weights").weights()) / plain;
        // Turned inputs differ more in what an error of each costs: feedback in the order of
        // columns makes less of them.
        let most = if rotation.is_none() { 1.3 * converters } else { 0.8 };
        assert!(found < most, "{rotation:?}: {found} of plain, the converter's {converters}");
    }
}
