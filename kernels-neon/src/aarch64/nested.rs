//! Products with nested codes: bytes of two rows side by side are parted, widened to 16 bits and multiplied by one input
//! each.

use std::arch::aarch64::*;

use half::f16;
use hardtack_kernels::math::ACTIVATION_MIN;
use hardtack_kernels::nested::{CodeGroup, Folded, GROUP_ROWS, INPUT_MAX, TILE_ROWS, TILE_UNIT_BYTES, check_fold};

use super::lanes::{load, load_bytes, load_halves, store, store_words};

/// Inputs at once: their sums and the codes fit in the registers.
const INPUTS: usize = 3;
/// Pairs of rows of a tile.
const PAIRS: usize = TILE_ROWS / 2;
/// Columns in half a vector of a tile.
const COLUMNS: usize = 8;

type Units<'a> = [&'a [[[u8; 16]; 2]]; 8];

/// As [`hardtack_kernels::KernelTable::code_rows`] says.
#[target_feature(enable = "neon")]
pub(super) fn code_rows(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    group.check();
    assert_eq!(out.len(), inputs.len() * group.columns, "a row for each input");
    match group.bits {
        2 => rows_bits::<2>(group, inputs, out),
        3 => rows_bits::<3>(group, inputs, out),
        4 => rows_bits::<4>(group, inputs, out),
        6 => rows_bits::<6>(group, inputs, out),
        _ => rows_bits::<8>(group, inputs, out),
    }
}

#[target_feature(enable = "neon")]
fn rows_bits<const BITS: i32>(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    let units = group.units.map(|unit| unit.as_chunks::<16>().0.as_chunks::<2>().0);
    let (several, rest) = inputs.as_chunks::<INPUTS>();
    let (several_out, rest_out) = out.split_at_mut(several.len() * INPUTS * group.columns);
    for (inputs, out) in several.iter().zip(several_out.chunks_exact_mut(INPUTS * group.columns)) {
        rows::<BITS, INPUTS>(&units, group, inputs, out);
    }
    for (input, out) in rest.iter().zip(rest_out.chunks_exact_mut(group.columns)) {
        rows::<BITS, 1>(&units, group, std::array::from_ref(input), out);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn rows<const BITS: i32, const COUNT: usize>(
    units: &Units<'_>,
    group: &CodeGroup<'_>,
    inputs: &[Folded; COUNT],
    out: &mut [f32],
) {
    let tiles = group.rows / TILE_ROWS;
    for part in 0..group.columns / COLUMNS {
        // A tile has four parts of 8 columns, two in each vector.
        let (block, vector_half, part_half) = (part / 4, part / 2 % 2, part % 2);
        let mut sums = [[vdupq_n_s32(0); 2]; COUNT];
        for tile in 0..tiles {
            let at = block * tiles + tile;
            for pair in 0..PAIRS {
                let codes = unpack::<BITS>(units, at, pair * 2 + vector_half, part_half);
                // Little-endian: a word's low byte is the even row.
                let words = vreinterpretq_u16_u8(codes);
                let even = vreinterpretq_s16_u16(vandq_u16(words, vdupq_n_u16(0xff)));
                let odd = vreinterpretq_s16_u16(vshrq_n_u16::<8>(words));
                for (sums, input) in sums.iter_mut().zip(inputs) {
                    let row = tile * TILE_ROWS + pair * 2;
                    let [first, second] = [input.codes[row], input.codes[row + 1]];
                    sums[0] = vmlal_n_s16(sums[0], vget_low_s16(even), first);
                    sums[1] = vmlal_n_s16(sums[1], vget_high_s16(even), first);
                    sums[0] = vmlal_n_s16(sums[0], vget_low_s16(odd), second);
                    sums[1] = vmlal_n_s16(sums[1], vget_high_s16(odd), second);
                }
            }
        }
        for (index, (sums, input)) in sums.iter().zip(inputs).enumerate() {
            let out = &mut out[index * group.columns + part * COLUMNS..][..COLUMNS];
            for (out, sum) in out.as_chunks_mut().0.iter_mut().zip(sums) {
                // Never fused: scalar rounds the product too.
                let product = vmulq_n_f32(vcvtq_f32_s32(*sum), input.scale);
                let total = vaddq_f32(load(out), product);
                store(out, total);
            }
        }
    }
}

/// Half of vector `vector` of a tile: codes of 8 columns, two rows of each side by side.
#[inline]
#[target_feature(enable = "neon")]
fn unpack<const BITS: i32>(units: &Units<'_>, tile: usize, vector: usize, half: usize) -> uint8x16_t {
    const { assert!(TILE_UNIT_BYTES == 32) };
    let (pair, two, one) = (vector / 4, (vector % 4 * 2) as i32, vector as i32);
    let mut codes = part(&units[pair][tile][half], two, 3, BITS - 2);
    if BITS >= 3 {
        codes = vorrq_u8(codes, part(&units[2][tile][half], one, 1, BITS - 3));
    }
    if BITS >= 4 {
        codes = vorrq_u8(codes, part(&units[3][tile][half], one, 1, BITS - 4));
    }
    if BITS >= 6 {
        codes = vorrq_u8(codes, part(&units[4 + pair][tile][half], two, 3, BITS - 6));
    }
    if BITS >= 8 {
        codes = vorrq_u8(codes, part(&units[6 + pair][tile][half], two, 3, 0));
    }
    codes
}

/// The bits of `mask` at `field` of every byte, moved to `place`.
#[inline]
#[target_feature(enable = "neon")]
fn part(bytes: &[u8; 16], field: i32, mask: u8, place: i32) -> uint8x16_t {
    // A shift by a negative number goes to the right.
    let moved = vshlq_u8(load_bytes(bytes), vdupq_n_s8((place - field) as i8));
    vandq_u8(moved, vdupq_n_u8(mask << place))
}

/// As [`hardtack_kernels::KernelTable::fold`] says.
#[target_feature(enable = "neon")]
pub(super) fn fold(inputs: &[f32], ranges: &[f16], out: &mut Folded) {
    check_fold(inputs, ranges);
    let mut products = [0.0; GROUP_ROWS];
    let ((fours, rest), (range_fours, range_rest)) = (inputs.as_chunks::<4>(), ranges.as_chunks::<4>());
    let (product_fours, _) = products.as_chunks_mut::<4>();
    for ((product, input), range) in product_fours.iter_mut().zip(fours).zip(range_fours) {
        store(product, vmulq_f32(load(input), load_halves(range)));
    }
    for ((product, input), range) in products[fours.len() * 4..].iter_mut().zip(rest).zip(range_rest) {
        *product = input * range.to_f32();
    }
    let fours = products.as_chunks::<4>().0;
    let mut magnitudes = vdupq_n_f32(0.0);
    for four in fours {
        magnitudes = vmaxnmq_f32(magnitudes, vabsq_f32(load(four)));
    }
    let largest = vmaxnmvq_f32(magnitudes);
    let (scale, inverse) =
        if largest < ACTIVATION_MIN { (0.0, 0.0) } else { (largest / INPUT_MAX, INPUT_MAX / largest) };
    for (codes, [low, high]) in out.codes.as_chunks_mut().0.iter_mut().zip(fours.as_chunks().0) {
        // To nearest, ties to even.
        let [low, high] = [low, high].map(|four| vcvtnq_s32_f32(vmulq_n_f32(load(four), inverse)));
        store_words(codes, vqmovn_high_s32(vqmovn_s32(low), high));
    }
    out.scale = scale;
}
