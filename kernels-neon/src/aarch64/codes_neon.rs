//! Codes times activations without `sdot`: products of bytes into 16 bits, as many sums there as
//! fit, then into 32.

use std::arch::aarch64::*;
use std::arch::asm;

use hardtack_format::encoding::GROUP_QUADS;
use hardtack_kernels::{Activations, PanelRows};

use super::codes::{BlockCodes, Group, START, TOKENS, Tile, add_block, blocks, each_tile};
use super::lanes::load_codes;

/// How many quads' products fit 16 bits when added up, for codes of `bits` bits, less `offset`.
pub(super) const fn run(bits: usize, offset: i32) -> usize {
    let code_max = if offset == 0 { (1 << bits) - 1 } else { offset };
    let fitting = i16::MAX as i32 / (code_max * -(i8::MIN as i32));
    // A run divides the quads of a group evenly.
    let mut run = GROUP_QUADS;
    while run > 1 && run as i32 > fitting {
        run /= 2;
    }
    run
}

const _: () = assert!(run(3, 4) == 16 && run(4, 0) == 16 && run(5, 16) == 8 && run(6, 0) == 4);
const _: () = assert!(run(8, 128) == 1);

/// A panel times all tokens of `out`. `unpack` returns the codes of a block of rows, less `OFFSET`;
/// `RUN` of their products, as [`run`] says, fit 16 bits.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn panel<const REGISTERS: usize, const OFFSET: i32, const RUN: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
    unpack: impl Fn(&Tile<REGISTERS>, usize) -> BlockCodes,
) {
    let (blocks, rest) = out.as_chunks_mut::<TOKENS>();
    let rest_token = first_token + blocks.len() * TOKENS;
    for (at, block) in blocks.iter_mut().enumerate() {
        tokens::<REGISTERS, OFFSET, RUN, TOKENS>(
            panel,
            activations,
            first_token + at * TOKENS,
            block,
            &unpack,
        );
    }
    for (at, rows) in rest.as_chunks_mut::<1>().0.iter_mut().enumerate() {
        tokens::<REGISTERS, OFFSET, RUN, 1>(panel, activations, rest_token + at, rows, &unpack);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn tokens<const REGISTERS: usize, const OFFSET: i32, const RUN: usize, const COUNT: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows; COUNT],
    unpack: impl Fn(&Tile<REGISTERS>, usize) -> BlockCodes,
) {
    each_tile::<REGISTERS, COUNT>(panel, activations, first_token, out, |tile, group, sums| {
        let starts = starts::<OFFSET, COUNT>(group);
        for block in blocks() {
            let code_sums = multiply::<RUN, COUNT>(&unpack(tile, block), group, starts);
            add_block(tile, block, code_sums, group, sums);
        }
    });
}

/// What sums start from, in all lanes: [`START`], and what the offset of the codes makes up for,
/// `OFFSET` times the sum of each token's codes.
#[inline]
#[target_feature(enable = "neon")]
fn starts<const OFFSET: i32, const COUNT: usize>(group: &[Group<'_>; COUNT]) -> [int32x4_t; COUNT] {
    let mut starts = [vdupq_n_s32(START); COUNT];
    if OFFSET != 0 {
        for (start, group) in starts.iter_mut().zip(group) {
            let mut sum = vdupq_n_s32(0);
            for codes in group.codes {
                sum = vpadalq_s16(sum, vpaddlq_s8(load_codes(codes)));
            }
            *start = vdupq_n_s32(vaddvq_s32(sum) * OFFSET + START);
        }
    }
    starts
}

/// Sums of a block of rows and one token: of rows 0 and 1, and of rows 2 and 3.
#[derive(Clone, Copy)]
struct Sums {
    /// Four lanes for each row.
    short: [int16x8_t; 2],
    /// Two lanes for each row.
    long: [int32x4_t; 2],
}

/// Adds the products of a block of rows with each token to that token's sums, one row in each lane.
#[inline]
#[target_feature(enable = "neon")]
fn multiply<const RUN: usize, const COUNT: usize>(
    weights: &BlockCodes,
    group: &[Group<'_>; COUNT],
    mut totals: [int32x4_t; COUNT],
) -> [int32x4_t; COUNT] {
    let mut sums = [Sums { short: [vdupq_n_s16(0); 2], long: [vdupq_n_s32(0); 2] }; COUNT];
    for (at, [a, b, c, d]) in weights.as_chunks().0.iter().enumerate() {
        let inputs = group.map(|group| load_codes(&group.codes[at]));
        multiply_quad::<0, RUN, COUNT>(at * 4, *a, &inputs, &mut sums);
        multiply_quad::<1, RUN, COUNT>(at * 4 + 1, *b, &inputs, &mut sums);
        multiply_quad::<2, RUN, COUNT>(at * 4 + 2, *c, &inputs, &mut sums);
        multiply_quad::<3, RUN, COUNT>(at * 4 + 3, *d, &inputs, &mut sums);
    }
    for (total, sums) in totals.iter_mut().zip(sums) {
        *total = vaddq_s32(*total, vpaddq_s32(sums.long[0], sums.long[1]));
    }
    totals
}

/// Adds the products of one quad, which is the inputs' lane `LANE`, and at the end of a run widens
/// their sums.
#[inline]
#[target_feature(enable = "neon")]
fn multiply_quad<const LANE: i32, const RUN: usize, const COUNT: usize>(
    quad: usize,
    weights: int8x16_t,
    inputs: &[int8x16_t; COUNT],
    sums: &mut [Sums; COUNT],
) {
    for (&input, sums) in inputs.iter().zip(sums) {
        let input = vreinterpretq_s8_s32(vdupq_laneq_s32::<LANE>(vreinterpretq_s32_s8(input)));
        sums.short = if quad.is_multiple_of(RUN) {
            multiply_bytes(weights, input)
        } else {
            multiply_add_bytes(sums.short, weights, input)
        };
        if quad % RUN == RUN - 1 {
            sums.long = [
                vpadalq_s16(sums.long[0], sums.short[0]),
                vpadalq_s16(sums.long[1], sums.short[1]),
            ];
        }
    }
}

/// The products of the first 8 bytes and of the last 8.
///
/// In assembly: out of the intrinsics LLVM 22 makes widenings and multiplications apart, twice the
/// instructions.
#[inline]
#[target_feature(enable = "neon")]
fn multiply_bytes(weights: int8x16_t, inputs: int8x16_t) -> [int16x8_t; 2] {
    let (low, high);
    // SAFETY: these are instructions of NEON, which touch nothing but the registers named here.
    unsafe {
        asm!(
            "smull {low:v}.8h, {weights:v}.8b, {inputs:v}.8b",
            "smull2 {high:v}.8h, {weights:v}.16b, {inputs:v}.16b",
            low = out(vreg) low,
            high = lateout(vreg) high,
            weights = in(vreg) weights,
            inputs = in(vreg) inputs,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    [low, high]
}

/// The products of the first 8 bytes and of the last 8, added to these sums.
#[inline]
#[target_feature(enable = "neon")]
fn multiply_add_bytes(
    [mut low, mut high]: [int16x8_t; 2],
    weights: int8x16_t,
    inputs: int8x16_t,
) -> [int16x8_t; 2] {
    // SAFETY: these are instructions of NEON, which touch nothing but the registers named here.
    unsafe {
        asm!(
            "smlal {low:v}.8h, {weights:v}.8b, {inputs:v}.8b",
            "smlal2 {high:v}.8h, {weights:v}.16b, {inputs:v}.16b",
            low = inout(vreg) low,
            high = inout(vreg) high,
            weights = in(vreg) weights,
            inputs = in(vreg) inputs,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    [low, high]
}
