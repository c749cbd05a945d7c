//! Panels of floats times float activations.

use wide::f32x8;

use super::memory::{bfloats, floats, half_floats};
use crate::activations::Activations;
use crate::table::PanelRows;

pub(super) fn panel_f32(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    panel_floats(floats, panel, activations, first_token, out);
}

pub(super) fn panel_f16(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    panel_floats(half_floats, panel, activations, first_token, out);
}

pub(super) fn panel_bf16(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    panel_floats(bfloats, panel, activations, first_token, out);
}

/// Two tokens at a time: their sums just fit in the registers of small processors. `BYTES` are
/// those of eight rows of a column, which `widen` turns into floats.
#[inline]
fn panel_floats<const BYTES: usize>(
    widen: impl Fn(&[u8; BYTES]) -> f32x8,
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    // [columns, 2] halves of columns, of eight rows each
    let (halves, rest) = panel.as_chunks();
    assert!(halves.len() == 2 * activations.columns && rest.is_empty(), "one panel");
    let (twos, one) = out.as_chunks_mut();
    let one_first = first_token + twos.len() * 2;
    for (index, out) in twos.iter_mut().enumerate() {
        tokens::<BYTES, 2>(&widen, halves, activations, first_token + index * 2, out);
    }
    for out in one.as_chunks_mut().0 {
        tokens::<BYTES, 1>(&widen, halves, activations, one_first, out);
    }
}

#[inline]
fn tokens<const BYTES: usize, const TOKENS: usize>(
    widen: &impl Fn(&[u8; BYTES]) -> f32x8,
    columns: &[[u8; BYTES]],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows; TOKENS],
) {
    let (columns, _) = columns.as_chunks::<2>();
    let inputs: [_; TOKENS] = core::array::from_fn(|token| {
        &activations.token_floats(first_token + token)[..columns.len()]
    });
    let mut sums = [[f32x8::ZERO; 2]; TOKENS];
    for column in 0..columns.len() {
        for half in 0..2 {
            let weights = widen(&columns[column][half]);
            for token in 0..TOKENS {
                let input = f32x8::splat(inputs[token][column]);
                sums[token][half] = weights.mul_add(input, sums[token][half]);
            }
        }
    }
    for token in 0..TOKENS {
        let (halves, _) = out[token].as_chunks_mut();
        halves[0] = sums[token][0].to_array();
        halves[1] = sums[token][1].to_array();
    }
}
