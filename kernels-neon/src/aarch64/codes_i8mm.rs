//! Codes times activations by `smmla`: eight columns of two rows with two tokens, 32 products and
//! their four sums in one instruction. One token alone is left to `sdot`, as half of those sums
//! would go to waste.

use std::arch::aarch64::*;
use std::arch::asm;

use hardtack_format::encoding::GROUP_COLUMNS;
use hardtack_kernels::{Activations, PanelRows};

use super::codes::{BlockCodes, Group, REGISTER_BYTES, START, Tile, add_block, blocks, each_tile};
use super::lanes::{load_codes, store_codes};

/// Runs of eight columns, which one instruction takes, in a group.
const EIGHTS: usize = GROUP_COLUMNS / 8;

/// Pairs of tokens' activations of one group: eight columns of both fill a register.
type Inputs<const PAIRS: usize> = [[[i8; REGISTER_BYTES]; PAIRS]; EIGHTS];

/// A panel times the tokens of `out` but an odd last one; returns how many. `unpack` returns the
/// codes of a block of rows, less `OFFSET`: unsigned if that is zero.
#[inline]
#[target_feature(enable = "neon,i8mm")]
pub(super) fn panel<const REGISTERS: usize, const OFFSET: i32>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
    unpack: impl Fn(&Tile<REGISTERS>, usize) -> BlockCodes,
) -> usize {
    let mut token = first_token;
    let (eights, out) = out.as_chunks_mut();
    for out in eights {
        tokens::<REGISTERS, OFFSET, 8, 4>(panel, activations, token, out, &unpack);
        token += 8;
    }
    let (fours, out) = out.as_chunks_mut();
    for out in fours {
        tokens::<REGISTERS, OFFSET, 4, 2>(panel, activations, token, out, &unpack);
        token += 4;
    }
    for out in out.as_chunks_mut().0 {
        tokens::<REGISTERS, OFFSET, 2, 1>(panel, activations, token, out, &unpack);
        token += 2;
    }
    token - first_token
}

#[inline]
#[target_feature(enable = "neon,i8mm")]
fn tokens<const REGISTERS: usize, const OFFSET: i32, const COUNT: usize, const PAIRS: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows; COUNT],
    unpack: impl Fn(&Tile<REGISTERS>, usize) -> BlockCodes,
) {
    each_tile::<REGISTERS, COUNT>(panel, activations, first_token, out, |tile, group, sums| {
        let inputs = inputs::<COUNT, PAIRS>(group);
        let starts = starts::<OFFSET, PAIRS>(&inputs);
        for block in blocks() {
            let codes = unpack(tile, block);
            let code_sums = multiply::<OFFSET, COUNT, PAIRS>(&codes, &inputs, starts);
            add_block(tile, block, code_sums, group, sums);
        }
    });
}

/// Puts the activations of two tokens each side by side. They are read once for each block of rows.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn inputs<const COUNT: usize, const PAIRS: usize>(group: &[Group<'_>; COUNT]) -> Inputs<PAIRS> {
    const { assert!(COUNT == 2 * PAIRS, "whole pairs") };
    let mut inputs = [[[0; REGISTER_BYTES]; PAIRS]; EIGHTS];
    for (pair, [first, second]) in group.as_chunks().0.iter().enumerate() {
        for (at, inputs) in inputs.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let first = vreinterpretq_s64_s8(load_codes(&first.codes[at]));
            let second = vreinterpretq_s64_s8(load_codes(&second.codes[at]));
            store_codes(&mut inputs[0][pair], vreinterpretq_s8_s64(vzip1q_s64(first, second)));
            store_codes(&mut inputs[1][pair], vreinterpretq_s8_s64(vzip2q_s64(first, second)));
        }
    }
    inputs
}

/// What sums start from, as [`multiply`] adds them up: [`START`], and what the offset of the codes
/// makes up for, `OFFSET` times the sum of each token's codes.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn starts<const OFFSET: i32, const PAIRS: usize>(inputs: &Inputs<PAIRS>) -> [int32x4_t; PAIRS] {
    const { assert!(OFFSET <= i8::MAX as i32, "an offset is multiplied as codes are") };
    let mut starts = [vdupq_n_s32(START); PAIRS];
    if OFFSET != 0 {
        for inputs in inputs {
            for (start, inputs) in starts.iter_mut().zip(inputs) {
                *start =
                    multiply_eights::<OFFSET>(*start, vdupq_n_s8(OFFSET as i8), load_codes(inputs));
            }
        }
    }
    starts
}

/// The products of a block of rows with each token, on top of `starts`: one row in each lane.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn multiply<const OFFSET: i32, const COUNT: usize, const PAIRS: usize>(
    weights: &BlockCodes,
    inputs: &Inputs<PAIRS>,
    starts: [int32x4_t; PAIRS],
) -> [int32x4_t; COUNT] {
    // Of two rows and two tokens each: row by row, and in a row token by token.
    let mut sums = [[vdupq_n_s32(0); 2]; PAIRS];
    for (sums, start) in sums.iter_mut().zip(starts) {
        *sums = [start; 2];
    }
    let mut add = |at: usize| {
        for (sums, inputs) in sums.iter_mut().zip(&inputs[at]) {
            let inputs = load_codes(inputs);
            sums[0] = multiply_eights::<OFFSET>(sums[0], weights[at * 2], inputs);
            sums[1] = multiply_eights::<OFFSET>(sums[1], weights[at * 2 + 1], inputs);
        }
    };
    // Written out: the optimizer keeps so long a loop, and the codes in memory for it.
    add(0);
    add(1);
    add(2);
    add(3);
    add(4);
    add(5);
    add(6);
    add(7);
    let mut tokens = [vdupq_n_s32(0); COUNT];
    for (tokens, [low, high]) in tokens.as_chunks_mut().0.iter_mut().zip(sums) {
        *tokens = [vuzp1q_s32(low, high), vuzp2q_s32(low, high)];
    }
    tokens
}

/// `sum[2 * row + token] += sum over i of weights[8 * row + i] * inputs[8 * token + i]`, of
/// unsigned weights if `OFFSET` is zero. In assembly, as the intrinsics are not stable.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn multiply_eights<const OFFSET: i32>(
    mut sum: int32x4_t,
    weights: int8x16_t,
    inputs: int8x16_t,
) -> int32x4_t {
    if OFFSET == 0 {
        // SAFETY: `usmmla` is there, as this function's features say, and touches nothing but the
        // registers named here.
        unsafe {
            asm!(
                "usmmla {sum:v}.4s, {weights:v}.16b, {inputs:v}.16b",
                sum = inout(vreg) sum,
                weights = in(vreg) weights,
                inputs = in(vreg) inputs,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    } else {
        // SAFETY: as above, of `smmla`.
        unsafe {
            asm!(
                "smmla {sum:v}.4s, {weights:v}.16b, {inputs:v}.16b",
                sum = inout(vreg) sum,
                weights = in(vreg) weights,
                inputs = in(vreg) inputs,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    }
    sum
}
