//! Codes times activations by `sdot`: in each lane, four products of bytes and their sum in one instruction.

use std::arch::aarch64::*;
use std::arch::asm;

use hardtack_format::encoding::PANEL_ROWS;
use hardtack_kernels::{Activations, PanelRows};

use super::codes::{BLOCKS, Block, BlockCodes, Group, Order, TOKENS, add_block, each_tile};
use super::lanes::load_codes;

/// A panel times all tokens of `out`. `unpack` gives the codes of a block of rows, less `OFFSET`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn panel<const REGISTERS: usize, const OFFSET: i32>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
    unpack: impl Fn(Block<'_, REGISTERS>) -> BlockCodes,
) {
    let (blocks, rest) = out.as_chunks_mut::<TOKENS>();
    let rest_token = first_token + blocks.len() * TOKENS;
    for (at, block) in blocks.iter_mut().enumerate() {
        tokens::<REGISTERS, OFFSET, TOKENS>(panel, activations, first_token + at * TOKENS, block, &unpack);
    }
    for (at, rows) in rest.as_chunks_mut::<1>().0.iter_mut().enumerate() {
        tokens::<REGISTERS, OFFSET, 1>(panel, activations, rest_token + at, rows, &unpack);
    }
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn tokens<const REGISTERS: usize, const OFFSET: i32, const COUNT: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows; COUNT],
    unpack: impl Fn(Block<'_, REGISTERS>) -> BlockCodes,
) {
    // Kept apart from `out`, which may lie where activations do as far as the compiler knows.
    let mut sums = [[0.0; PANEL_ROWS]; COUNT];
    each_tile::<REGISTERS, COUNT>(panel, activations, first_token, |tile, group| {
        let starts = starts::<OFFSET, COUNT>(group);
        for block in 0..BLOCKS {
            let code_sums = multiply(&unpack(Block { tile, block, order: Order::Quads }), group, starts);
            add_block(tile, block, code_sums, group, &mut sums);
        }
    });
    *out = sums;
}

/// What the offset of the codes makes up for: `OFFSET` times the sum of each token's codes, in all lanes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn starts<const OFFSET: i32, const COUNT: usize>(group: &[Group<'_>; COUNT]) -> [int32x4_t; COUNT] {
    let mut starts = [vdupq_n_s32(0); COUNT];
    if OFFSET != 0 {
        for (start, group) in starts.iter_mut().zip(group) {
            for codes in group.codes {
                *start = dot_lane::<0>(*start, load_codes(codes), vdupq_n_s8(1));
            }
            *start = vdupq_n_s32(vaddvq_s32(*start) * OFFSET);
        }
    }
    starts
}

/// Adds the products of a block of rows with each token to that token's sums, one row in each lane.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn multiply<const COUNT: usize>(
    weights: &BlockCodes,
    group: &[Group<'_>; COUNT],
    mut sums: [int32x4_t; COUNT],
) -> [int32x4_t; COUNT] {
    for (at, [a, b, c, d]) in weights.as_chunks().0.iter().enumerate() {
        let inputs = group.map(|group| load_codes(&group.codes[at]));
        for (sum, input) in sums.iter_mut().zip(inputs) {
            *sum = dot_lane::<0>(*sum, *a, input);
            *sum = dot_lane::<1>(*sum, *b, input);
            *sum = dot_lane::<2>(*sum, *c, input);
            *sum = dot_lane::<3>(*sum, *d, input);
        }
    }
    sums
}

/// `sum[lane] += sum over i of weights[4 * lane + i] * inputs[4 * LANE + i]`. In assembly, as the intrinsic is not stable.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_lane<const LANE: i32>(mut sum: int32x4_t, weights: int8x16_t, inputs: int8x16_t) -> int32x4_t {
    // SAFETY: `sdot` is there, as this function's features say, and touches nothing but the registers named here.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {weights:v}.16b, {inputs:v}.4b[{lane}]",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            inputs = in(vreg) inputs,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
