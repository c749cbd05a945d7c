//! Panels of floats times float activations: each row of each token is one chain of fused
//! multiply-adds in the order of the columns, so that it does not depend on the tokens beside it.

use std::arch::aarch64::*;
use std::array::from_fn;

use hardtack_format::encoding::PANEL_ROWS;
use hardtack_kernels::{Activations, PanelRows};

use super::codes::{BLOCK_ROWS, BLOCKS, TOKENS};
use super::lanes::{load, store};

/// A column's weights, four rows in each register.
pub(super) type Column = [float32x4_t; BLOCKS];

/// A panel times all tokens of `out`. `widen` returns the weights of a column of `BYTES` bytes.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn panel<const BYTES: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
    widen: impl Fn(&[u8; BYTES]) -> Column,
) {
    assert_eq!(panel.len(), activations.columns * BYTES, "one panel");
    let columns = panel.as_chunks::<BYTES>().0;
    let (blocks, rest) = out.as_chunks_mut::<TOKENS>();
    let rest_token = first_token + blocks.len() * TOKENS;
    for (at, block) in blocks.iter_mut().enumerate() {
        tokens::<BYTES, TOKENS>(columns, activations, first_token + at * TOKENS, block, &widen);
    }
    for (at, rows) in rest.as_chunks_mut::<1>().0.iter_mut().enumerate() {
        tokens::<BYTES, 1>(columns, activations, rest_token + at, rows, &widen);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn tokens<const BYTES: usize, const COUNT: usize>(
    columns: &[[u8; BYTES]],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows; COUNT],
    widen: impl Fn(&[u8; BYTES]) -> Column,
) {
    let inputs: [_; COUNT] =
        from_fn(|token| activations.token_floats(first_token + token).as_chunks::<4>());
    let (fours, rest) = columns.as_chunks::<4>();
    assert!(
        inputs.iter().all(|input| input.0.len() == fours.len() && input.1.len() == rest.len()),
        "one token"
    );
    let mut sums = [[vdupq_n_f32(0.0); BLOCKS]; COUNT];
    for (at, [a, b, c, d]) in fours.iter().enumerate() {
        let four = inputs.map(|input| load(&input.0[at]));
        add_column::<0, COUNT>(&mut sums, widen(a), four);
        add_column::<1, COUNT>(&mut sums, widen(b), four);
        add_column::<2, COUNT>(&mut sums, widen(c), four);
        add_column::<3, COUNT>(&mut sums, widen(d), four);
    }
    for (at, column) in rest.iter().enumerate() {
        add_column::<0, COUNT>(
            &mut sums,
            widen(column),
            inputs.map(|input| vdupq_n_f32(input.1[at])),
        );
    }
    for (rows, sums) in out.iter_mut().zip(sums) {
        for (rows, sum) in rows.as_chunks_mut::<BLOCK_ROWS>().0.iter_mut().zip(sums) {
            store(rows, sum);
        }
    }
    const { assert!(BLOCKS * BLOCK_ROWS == PANEL_ROWS) };
}

#[inline]
#[target_feature(enable = "neon")]
fn add_column<const LANE: i32, const COUNT: usize>(
    sums: &mut [Column; COUNT],
    weights: Column,
    four: [float32x4_t; COUNT],
) {
    for (sums, four) in sums.iter_mut().zip(four) {
        for (sum, weights) in sums.iter_mut().zip(weights) {
            *sum = vfmaq_laneq_f32::<LANE>(*sum, weights, four);
        }
    }
}
