//! Holds a tier to scalar: every entry of its table, on shapes and data chosen to break it.
//!
//! Panels of codes, `quantize` and products with nested codes must agree to the bit. Sums of
//! products must agree within `n * eps * sum of |a * b|`: twice what one sum in any order may be
//! off, as scalar is off too. The rest must agree within [`ELEMENT_ULPS`]. A token's result must
//! not depend on how many tokens are computed together, to the bit, in every encoding.

mod attention;
mod bounds;
mod data;
mod nested;

use alloc::vec;
use alloc::vec::Vec;

use half::f16;
use hardtack_format::encoding::{Encoding, GROUP_COLUMNS, PANEL_ROWS};

use self::bounds::{allowed, same_bits, ulps};
use self::data::{Data, Inputs, Random, panel};
use crate::activations::{Activations, ActivationsMut, groups};
use crate::pack::unpack_row;
use crate::scalar;
use crate::table::{KernelTable, PanelRows};

/// Units in the last place by which an element of an elementwise operation may differ from
/// scalar's.
pub const ELEMENT_ULPS: u32 = 4;

const COLUMNS: [usize; 14] = [1, 3, 4, 31, 63, 64, 65, 96, 127, 128, 160, 576, 1536, 2048];
const LENGTHS: [usize; 18] = [0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 100, 128, 1001];
/// Numbers of tokens at once: every remainder of loops over eight and fewer, and of one over
/// sixteen.
const TOKEN_COUNTS: [usize; 11] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 39];
const TOKENS_MAX: usize = TOKEN_COUNTS[10];
const FIRST_TOKENS: [usize; 3] = [0, 1, 3];
/// Tokens that the panels are tried with.
const TOKENS: usize = TOKENS_MAX + FIRST_TOKENS[2];

/// Holds every entry of `table` to scalar.
///
/// # Panics
/// With the entry, the shape and the two numbers, where they disagree.
pub fn check(table: &KernelTable) {
    for columns in COLUMNS {
        for data in Data::ALL {
            let inputs = Inputs::new(columns, TOKENS, data);
            check_quantize(table, &inputs.floats[..columns], data);
            for encoding in Encoding::MATRICES {
                check_panel(table, encoding, &inputs, data);
            }
        }
    }
    // The largest is 127, so the inverse scale is 1 and halves are ties.
    check_quantize(
        table,
        &[-127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 63.49999, 5e-39, -0.0],
        Data::Ordinary,
    );
    attention::check_attention(table);
    nested::check_nested(table);
    for length in LENGTHS {
        for data in Data::ALL {
            check_sums(table, length, data);
            check_elements(table, length, data);
        }
    }
}

/// Calls `table` with lengths that do not agree: `must_panic` gets what is wrong and the call,
/// which must panic. Catching a panic takes `std`, so that is left to the tests.
pub fn wrong_lengths(table: &KernelTable, mut must_panic: impl FnMut(&str, &dyn Fn())) {
    let inputs = Inputs::new(96, 4, Data::Ordinary);
    let whole = inputs.view();
    for encoding in Encoding::MATRICES {
        let panel = panel(encoding, 96, Data::Ordinary);
        let call = |bytes: &[u8], activations: Activations<'_>, first_token, tokens| {
            table.panel(encoding)(
                bytes,
                &activations,
                first_token,
                &mut vec![[0.0; PANEL_ROWS]; tokens],
            );
        };
        let long: Vec<u8> = panel.iter().copied().chain([0]).collect();
        must_panic("panel too short", &|| call(&panel[1..], whole, 0, 1));
        must_panic("panel too long", &|| call(&long, whole, 0, 1));
        must_panic("fewer tokens than asked for", &|| call(&panel, whole, 0, 5));
        must_panic("first token behind the last", &|| call(&panel, whole, 4, 1));
        if encoding.code_bits().is_some() {
            must_panic("codes", &|| {
                call(&panel, Activations { codes: &whole.codes[1..], ..whole }, 0, 4)
            });
            must_panic("scales", &|| {
                call(&panel, Activations { scales: &whole.scales[1..], ..whole }, 0, 4)
            });
            must_panic("sums", &|| {
                call(&panel, Activations { sums: &whole.sums[1..], ..whole }, 0, 4)
            });
        } else {
            must_panic("floats", &|| {
                call(&panel, Activations { floats: &whole.floats[1..], ..whole }, 0, 4)
            });
        }
    }
    let quantize = |codes: usize, scales: usize, sums: usize| {
        let (mut codes, mut scales, mut sums) =
            (vec![0; codes], vec![0.0; scales], vec![0.0; sums]);
        let floats = &inputs.floats[..96];
        (table.quantize)(ActivationsMut {
            floats,
            codes: &mut codes,
            scales: &mut scales,
            sums: &mut sums,
        });
    };
    must_panic("quantize: codes", &|| quantize(96, 2, 2));
    must_panic("quantize: scales", &|| quantize(128, 1, 2));
    must_panic("quantize: sums", &|| quantize(128, 2, 3));

    let (nine, ten, halves) = ([1.0; 9], [1.0; 10], [f16::ONE; 10]);
    must_panic("scale_gain: gain", &|| (table.scale_gain)(&ten, 1.0, &nine, &mut [0.0; 10]));
    must_panic("scale_gain: out", &|| (table.scale_gain)(&ten, 1.0, &ten, &mut [0.0; 9]));
    must_panic("dot", &|| _ = (table.dot)(&nine, &ten));
    must_panic("dot_f16", &|| _ = (table.dot_f16)(&nine, &halves));
    must_panic("add_scaled", &|| (table.add_scaled)(&mut [0.0; 9], 1.0, &ten));
    must_panic("add_scaled_f16", &|| (table.add_scaled_f16)(&mut [0.0; 9], 1.0, &halves));
    must_panic("silu_multiply", &|| (table.silu_multiply)(&mut [0.0; 9], &ten));
    attention::wrong_lengths(table, &mut must_panic);
    nested::wrong_lengths(table, &mut must_panic);
    must_panic("clamped_swiglu", &|| (table.clamped_swiglu)(&mut [0.0; 9], &ten, 1.0, 1.0));
}

fn check_panel(table: &KernelTable, encoding: Encoding, inputs: &Inputs, data: Data) {
    let name = table.name;
    let what = encoding.name();
    let columns = inputs.columns;
    let bytes = panel(encoding, columns, data);
    // At an odd address, as nothing promises an even one.
    let mut shifted = vec![0; bytes.len() + 1];
    let odd = usize::from(shifted.as_ptr().addr().is_multiple_of(2));
    shifted[odd..odd + bytes.len()].copy_from_slice(&bytes);
    let bytes = &shifted[odd..odd + bytes.len()];
    let activations = inputs.view();

    let mut truth = [[0.0; PANEL_ROWS]; TOKENS];
    scalar::TABLE.panel(encoding)(bytes, &activations, 0, &mut truth);
    let mut single = [[f32::NAN; PANEL_ROWS]; TOKENS];
    for (token, rows) in single.iter_mut().enumerate() {
        table.panel(encoding)(bytes, &activations, token, core::slice::from_mut(rows));
    }
    let exact = encoding.code_bits().is_some();
    let mut weights = vec![0.0; columns];
    for row in 0..PANEL_ROWS {
        unpack_row(encoding, bytes, row, &mut weights);
        for token in 0..TOKENS {
            let (ours, expected) = (single[token][row], truth[token][row]);
            let off = if exact {
                0.0
            } else {
                allowed(weights.iter().copied().zip(inputs.token(token).iter().copied()))
            };
            assert!(
                ours.to_bits() == expected.to_bits() || f64::from((ours - expected).abs()) <= off,
                "{name}: panel {what}, {columns} columns, {data:?}, token {token}, row {row}: \
                 {ours:e} is not scalar's {expected:e} within {off:e}"
            );
        }
    }
    if table.streams > 1 {
        check_streams(table, encoding, bytes, &activations, &single);
    }
    for first_token in FIRST_TOKENS {
        for tokens in TOKEN_COUNTS {
            let mut together: [PanelRows; TOKENS_MAX] = [[f32::NAN; PANEL_ROWS]; TOKENS_MAX];
            table.panel(encoding)(bytes, &activations, first_token, &mut together[..tokens]);
            for token in 0..tokens {
                assert!(
                    same_bits(&together[token], &single[first_token + token]),
                    "{name}: panel {what}, {columns} columns, {data:?}: token {token} of {tokens} \
                     together from {first_token} is {:?}, alone {:?}",
                    together[token],
                    single[first_token + token]
                );
            }
        }
    }
}

/// Several panels in one call give what they give alone. Every third of them has its groups, or
/// columns, in another order.
fn check_streams(
    table: &KernelTable,
    encoding: Encoding,
    bytes: &[u8],
    activations: &Activations<'_>,
    single: &[PanelRows],
) {
    let mut other = bytes.to_vec();
    other.rotate_left(if encoding.code_bits().is_some() {
        encoding.tile_bytes()
    } else {
        bytes.len() / activations.columns
    });
    let mut of_other = [[f32::NAN; PANEL_ROWS]];
    table.panel(encoding)(&other, activations, 1, &mut of_other);
    for panels in 2..=2 * table.streams + 1 {
        let is_other = |panel: usize| panel % 3 == 1;
        let all: Vec<u8> = (0..panels)
            .flat_map(|panel| if is_other(panel) { &other } else { bytes })
            .copied()
            .collect();
        let mut out = vec![[f32::NAN; PANEL_ROWS]; panels];
        table.panel(encoding)(&all, activations, 1, &mut out);
        for (panel, rows) in out.iter().enumerate() {
            let alone = if is_other(panel) { &of_other[0] } else { &single[1] };
            assert!(
                same_bits(rows, alone),
                "{}: {}, {} columns: panel {panel} of {panels} gives {rows:?}, alone {alone:?}",
                table.name,
                encoding.name(),
                activations.columns
            );
        }
    }
}

fn check_quantize(table: &KernelTable, floats: &[f32], data: Data) {
    let groups = groups(floats.len());
    let run = |quantize: fn(ActivationsMut<'_>)| {
        let (mut codes, mut scales, mut sums) =
            (vec![99; groups * GROUP_COLUMNS], vec![9.0; groups], vec![9.0; groups]);
        quantize(ActivationsMut {
            floats,
            codes: &mut codes,
            scales: &mut scales,
            sums: &mut sums,
        });
        (codes, scales, sums)
    };
    let (ours, truth) = (run(table.quantize), run(scalar::TABLE.quantize));
    let what = alloc::format!("{}: quantize, {} columns, {data:?}", table.name, floats.len());
    assert_eq!(ours.0, truth.0, "{what}: codes are not scalar's");
    assert!(
        same_bits(&ours.1, &truth.1),
        "{what}: scales {:?} are not scalar's {:?}",
        ours.1,
        truth.1
    );
    assert!(
        same_bits(&ours.2, &truth.2),
        "{what}: sums {:?} are not scalar's {:?}",
        ours.2,
        truth.2
    );
}

/// The operations that end in one number.
fn check_sums(table: &KernelTable, length: usize, data: Data) {
    let truth = &scalar::TABLE;
    let mut random = Random(length as u64 + 1);
    let (a, b) = (random.floats(length, data), random.floats(length, data));
    let halves: Vec<f16> =
        random.floats(length, data.of_f16()).into_iter().map(f16::from_f32).collect();
    let close = |what: &str, ours: f32, expected: f32, off: f64| {
        assert!(
            f64::from((ours - expected).abs()) <= off,
            "{}: {what} of {length}, {data:?}: {ours:e} is not scalar's {expected:e} within \
             {off:e}",
            table.name
        );
    };
    let pairs = || a.iter().copied();
    let off = allowed(pairs().zip(b.iter().copied()));
    close("dot", (table.dot)(&a, &b), (truth.dot)(&a, &b), off);
    let off = allowed(pairs().zip(halves.iter().map(|half| half.to_f32())));
    close("dot_f16", (table.dot_f16)(&a, &halves), (truth.dot_f16)(&a, &halves), off);
    let off = allowed(pairs().zip(pairs()));
    close("sum_squares", (table.sum_squares)(&a), (truth.sum_squares)(&a), off);
    let (ours, expected) = ((table.maximum)(&a), (truth.maximum)(&a));
    assert!(
        ours == expected,
        "{}: maximum of {length}, {data:?}: {ours:e}, not {expected:e}",
        table.name
    );
    for place in 0..length {
        let mut one = vec![-3.0; length];
        one[place] = -2.0;
        assert!((table.maximum)(&one) == -2.0, "{}: maximum of {length} at {place}", table.name);
    }
}

/// The operations that give one number for each element.
fn check_elements(table: &KernelTable, length: usize, data: Data) {
    let truth = &scalar::TABLE;
    let mut random = Random(length as u64 + 7);
    let (x, y) = (random.floats(length, data), random.floats(length, data));
    let moderate = data.of_f16();
    let halves: Vec<f16> = random.floats(length, moderate).into_iter().map(f16::from_f32).collect();
    // What exp is for: from far below its range to its top.
    let logits: Vec<f32> = (0..length)
        .map(|at| if at % 11 == 3 { f32::NEG_INFINITY } else { -3.1 * at as f32 })
        .collect();
    let gated: Vec<f32> =
        x.iter().enumerate().map(|(at, x)| x + (at as f32 - 16.0) * 5.3).collect();

    let elements = |what: &str, start: &[f32], run: &dyn Fn(&KernelTable, &mut [f32])| {
        let (ours, expected) = (guarded(table, start, run), guarded(truth, start, run));
        for (at, (&ours, &expected)) in ours.iter().zip(&expected).enumerate() {
            assert!(
                ulps(ours, expected) <= ELEMENT_ULPS,
                "{}: {what} of {length}, {data:?}, element {at}: {ours:e} is not scalar's \
                 {expected:e}",
                table.name
            );
        }
        expected
    };
    elements("scale_gain", &y, &|table, out| (table.scale_gain)(&x, 0.37, &y, out));
    elements("silu_multiply", &gated, &|table, out| (table.silu_multiply)(out, &y));
    elements("clamped_swiglu", &gated, &|table, out| (table.clamped_swiglu)(out, &y, 1.702, 7.0));
    for maximum in [0.0, 2.5, -60.0] {
        let results = elements("exp_sum", &logits, &|table, out| _ = (table.exp_sum)(out, maximum));
        let sum = |table: &KernelTable| (table.exp_sum)(&mut logits.clone(), maximum);
        let (ours, expected) = (sum(table), sum(truth));
        let off = allowed(results.into_iter().map(|result| (result, 1.0 + ELEMENT_ULPS as f32)));
        assert!(
            f64::from((ours - expected).abs()) <= off,
            "{}: exp_sum of {length}: {ours:e}, not {expected:e}",
            table.name
        );
    }

    let halves_as_floats: Vec<f32> = halves.iter().map(|half| half.to_f32()).collect();
    let added = |what: &str, values: &[f32], run: &dyn Fn(&KernelTable, &mut [f32])| {
        let (ours, expected) = (guarded(table, &y, run), guarded(truth, &y, run));
        for at in 0..length {
            let off = allowed([(y[at], 1.0), (values[at], -0.61)].into_iter());
            assert!(
                f64::from((ours[at] - expected[at]).abs()) <= off,
                "{}: {what} of {length}, {data:?}, element {at}: {:e} is not scalar's {:e}",
                table.name,
                ours[at],
                expected[at]
            );
        }
    };
    added("add_scaled", &x, &|table, out| (table.add_scaled)(out, -0.61, &x));
    added("add_scaled_f16", &halves_as_floats, &|table, out| {
        (table.add_scaled_f16)(out, -0.61, &halves)
    });
}

/// Runs an operation on a copy of `start`, between numbers that must stay as they are.
fn guarded(table: &KernelTable, start: &[f32], run: &dyn Fn(&KernelTable, &mut [f32])) -> Vec<f32> {
    const GUARD: [f32; 9] = [12345.0; 9];
    let mut all = [&GUARD, start, &GUARD].concat();
    let end = GUARD.len() + start.len();
    run(table, &mut all[GUARD.len()..end]);
    assert!(
        all[..GUARD.len()] == GUARD && all[end..] == GUARD,
        "{}: written outside of the slice",
        table.name
    );
    all[GUARD.len()..end].to_vec()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn scalar_and_portable_hold() {
        for table in [&scalar::TABLE, &crate::portable::TABLE] {
            check(table);
            wrong_lengths(table, |what, call| {
                assert!(
                    catch_unwind(AssertUnwindSafe(call)).is_err(),
                    "{}: accepts wrong {what}",
                    table.name
                );
            });
        }
    }

    #[test]
    fn wrong_results_are_found() {
        let panels = scalar::TABLE.panels;
        let wrong = KernelTable {
            panels: core::array::from_fn(|slot| panels[slot.saturating_sub(1)]),
            maximum: |_| 0.0,
            add_scaled: |_, _, _| (),
            ..scalar::TABLE
        };
        for found in [
            catch_unwind(|| {
                check_panel(
                    &wrong,
                    Encoding::Q8,
                    &Inputs::new(64, TOKENS, Data::Ordinary),
                    Data::Ordinary,
                )
            }),
            catch_unwind(|| check_sums(&wrong, 9, Data::Ordinary)),
            catch_unwind(|| check_elements(&wrong, 9, Data::Ordinary)),
        ] {
            assert!(found.is_err());
        }
    }
}
