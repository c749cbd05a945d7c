//! Codes times activations by `sdot`: in each lane, four products of bytes and their sum in one
//! instruction.

use std::arch::aarch64::*;
use std::arch::asm;

use hardtack_kernels::{Activations, PanelRows};

use super::codes::{BlockCodes, Group, START, Tile, add_block, blocks, each_tile};
use super::lanes::load_codes;

/// A panel times all tokens of `out`. `unpack` returns the codes of a block of rows, less `OFFSET`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn panel<const REGISTERS: usize, const OFFSET: i32>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
    unpack: impl Fn(&Tile<REGISTERS>, usize) -> BlockCodes,
) {
    let mut token = first_token;
    let (eights, out) = out.as_chunks_mut();
    for out in eights {
        tokens::<REGISTERS, OFFSET, 8>(panel, activations, token, out, &unpack);
        token += 8;
    }
    let (fours, out) = out.as_chunks_mut();
    for out in fours {
        tokens::<REGISTERS, OFFSET, 4>(panel, activations, token, out, &unpack);
        token += 4;
    }
    for out in out.as_chunks_mut().0 {
        tokens::<REGISTERS, OFFSET, 1>(panel, activations, token, out, &unpack);
        token += 1;
    }
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn tokens<const REGISTERS: usize, const OFFSET: i32, const COUNT: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows; COUNT],
    unpack: impl Fn(&Tile<REGISTERS>, usize) -> BlockCodes,
) {
    each_tile::<REGISTERS, COUNT>(panel, activations, first_token, out, |tile, group, sums| {
        let starts = starts::<OFFSET, COUNT>(group);
        for block in blocks() {
            let code_sums = multiply(&unpack(tile, block), group, starts);
            add_block(tile, block, code_sums, group, sums);
        }
    });
}

/// What sums start from, in all lanes: [`START`], and what the offset of the codes makes up for,
/// `OFFSET` times the sum of each token's codes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn starts<const OFFSET: i32, const COUNT: usize>(group: &[Group<'_>; COUNT]) -> [int32x4_t; COUNT] {
    let mut starts = [vdupq_n_s32(START); COUNT];
    if OFFSET != 0 {
        for (start, group) in starts.iter_mut().zip(group) {
            let mut sum = vdupq_n_s32(0);
            for codes in group.codes {
                sum = dot_lane::<0>(sum, load_codes(codes), vdupq_n_s8(1));
            }
            *start = vdupq_n_s32(vaddvq_s32(sum) * OFFSET + START);
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
    let mut add = |at: usize| {
        for (sum, group) in sums.iter_mut().zip(group) {
            let input = load_codes(&group.codes[at]);
            *sum = dot_lane::<0>(*sum, weights[at * 4], input);
            *sum = dot_lane::<1>(*sum, weights[at * 4 + 1], input);
            *sum = dot_lane::<2>(*sum, weights[at * 4 + 2], input);
            *sum = dot_lane::<3>(*sum, weights[at * 4 + 3], input);
        }
    };
    // Written out: the optimizer keeps so long a loop, and the codes in memory for it.
    add(0);
    add(1);
    add(2);
    add(3);
    sums
}

/// `sum[lane] += sum over i of weights[4 * lane + i] * inputs[4 * LANE + i]`. In assembly, as the
/// intrinsic is not stable.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_lane<const LANE: i32>(
    mut sum: int32x4_t,
    weights: int8x16_t,
    inputs: int8x16_t,
) -> int32x4_t {
    // SAFETY: `sdot` is there, as this function's features say, and touches nothing but the
    // registers named here.
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
