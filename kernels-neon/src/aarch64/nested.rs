//! Products with nested codes: bytes of two rows side by side are parted, widened to 16 bits and
//! multiplied by one input each.

use std::arch::aarch64::*;
use std::ops::Range;

use half::f16;
use hardtack_kernels::math::ACTIVATION_MIN;
use hardtack_kernels::nested::{
    CodeGroup, Folded, GROUP_ROWS, INPUT_MAX, TILE_ROWS, TILE_UNIT_BYTES, check_fold,
};

use super::lanes::{self, load, load_bytes, load_f16, load_words, store, store_words};

/// Inputs at once: as many chains of sums as hide the latency of adding to them.
const INPUTS: usize = 4;
/// Pairs of rows of a tile.
const PAIRS: usize = TILE_ROWS / 2;
/// Columns in half a vector of a tile.
const COLUMNS: usize = 8;

type Units<'a> = [&'a [[[u8; 16]; 2]]; 8];

/// Codes of 8 columns of two rows, widened to 16 bits.
type Pair = [int16x8_t; 2];
/// All pairs of rows that a group may have.
type Unpacked = [Pair; GROUP_ROWS / 2];

/// As [`hardtack_kernels::KernelTable::prefetch`] says.
pub(super) fn prefetch(group: &CodeGroup<'_>, scales: [&[f16]; 2]) {
    group.units[..group.bits as usize].iter().for_each(|unit| lanes::prefetch(unit));
    scales.into_iter().for_each(lanes::prefetch);
}

/// As [`hardtack_kernels::KernelTable::code_rows`] says. Codes are unpacked once for all inputs.
#[target_feature(enable = "neon")]
pub(super) fn code_rows(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    group.check();
    assert_eq!(out.len(), inputs.len() * group.columns, "a row for each input");
    let units = group.units.map(|unit| unit.as_chunks::<16>().0.as_chunks::<2>().0);
    match group.bits {
        2 => rows::<2>(&units, group, inputs, out),
        3 => rows::<3>(&units, group, inputs, out),
        4 => rows::<4>(&units, group, inputs, out),
        6 => rows::<6>(&units, group, inputs, out),
        _ => rows::<8>(&units, group, inputs, out),
    }
}

#[target_feature(enable = "neon")]
fn rows<const BITS: i32>(
    units: &Units<'_>,
    group: &CodeGroup<'_>,
    inputs: &[Folded],
    out: &mut [f32],
) {
    let (several, rest) = inputs.as_chunks::<INPUTS>();
    let (several_out, rest_out) = out.split_at_mut(several.len() * INPUTS * group.columns);
    let tiles = group.rows / TILE_ROWS;
    let mut unpacked = [[vdupq_n_s16(0); 2]; GROUP_ROWS / 2];
    for part in 0..group.columns / COLUMNS {
        // A tile has four parts of 8 columns, two in each vector.
        let (first, vector_half, part_half) = (part / 4 * tiles, part / 2 % 2, part % 2);
        match vector_half {
            0 => unpack_rows::<BITS, 0>(units, first..first + tiles, part_half, &mut unpacked),
            _ => unpack_rows::<BITS, 1>(units, first..first + tiles, part_half, &mut unpacked),
        }
        let pairs = &unpacked[..tiles * PAIRS];
        for (inputs, out) in
            several.iter().zip(several_out.chunks_exact_mut(INPUTS * group.columns))
        {
            multiply(pairs, inputs, group.columns, part, out);
        }
        for (input, out) in rest.iter().zip(rest_out.chunks_exact_mut(group.columns)) {
            multiply(pairs, std::array::from_ref(input), group.columns, part, out);
        }
    }
}

/// Half of a vector's columns, of all rows. Which vectors is a constant, so that codes are shifted
/// by constants.
#[inline]
#[target_feature(enable = "neon")]
fn unpack_rows<const BITS: i32, const HALF: usize>(
    units: &Units<'_>,
    tiles: Range<usize>,
    part_half: usize,
    unpacked: &mut Unpacked,
) {
    for (tile, pairs) in tiles.zip(unpacked.as_chunks_mut::<PAIRS>().0) {
        for (pair, kept) in pairs.iter_mut().enumerate() {
            let codes = unpack::<BITS>(units, tile, pair * 2 + HALF, part_half);
            // Little-endian: a word's low byte is the even row.
            let words = vreinterpretq_u16_u8(codes);
            let even = vreinterpretq_s16_u16(vandq_u16(words, vdupq_n_u16(0xff)));
            *kept = [even, vreinterpretq_s16_u16(vshrq_n_u16::<8>(words))];
        }
    }
}

/// Adds the products of all pairs of rows with some inputs to a part of their columns. Once for all
/// bits: written out, it is long.
#[inline(never)]
#[target_feature(enable = "neon")]
fn multiply<const COUNT: usize>(
    pairs: &[Pair],
    inputs: &[Folded; COUNT],
    columns: usize,
    part: usize,
    out: &mut [f32],
) {
    let mut sums = [[vdupq_n_s32(0); 2]; COUNT];
    for (tile, pairs) in pairs.as_chunks::<PAIRS>().0.iter().enumerate() {
        for (sums, input) in sums.iter_mut().zip(inputs) {
            let codes = load_words(&input.codes.as_chunks().0[tile]);
            add_pair::<0, 1>(sums, pairs[0], codes);
            add_pair::<2, 3>(sums, pairs[1], codes);
            add_pair::<4, 5>(sums, pairs[2], codes);
            add_pair::<6, 7>(sums, pairs[3], codes);
        }
    }
    for (index, (sums, input)) in sums.iter().zip(inputs).enumerate() {
        let out = &mut out[index * columns + part * COLUMNS..][..COLUMNS];
        for (out, sum) in out.as_chunks_mut().0.iter_mut().zip(sums) {
            // Never fused: scalar rounds the product too.
            let product = vmulq_n_f32(vcvtq_f32_s32(*sum), input.scale);
            let total = vaddq_f32(load(out), product);
            store(out, total);
        }
    }
}

/// Adds two rows times two lanes of an input's codes.
#[inline]
#[target_feature(enable = "neon")]
fn add_pair<const EVEN: i32, const ODD: i32>(
    sums: &mut [int32x4_t; 2],
    [even, odd]: Pair,
    codes: int16x8_t,
) {
    sums[0] = vmlal_laneq_s16::<EVEN>(sums[0], vget_low_s16(even), codes);
    sums[1] = vmlal_high_laneq_s16::<EVEN>(sums[1], even, codes);
    sums[0] = vmlal_laneq_s16::<ODD>(sums[0], vget_low_s16(odd), codes);
    sums[1] = vmlal_high_laneq_s16::<ODD>(sums[1], odd, codes);
}

/// Half of vector `vector` of a tile: codes of 8 columns, two rows of each side by side.
#[inline]
#[target_feature(enable = "neon")]
fn unpack<const BITS: i32>(
    units: &Units<'_>,
    tile: usize,
    vector: usize,
    half: usize,
) -> uint8x16_t {
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
    let ((fours, rest), (range_fours, range_rest)) =
        (inputs.as_chunks::<4>(), ranges.as_chunks::<4>());
    let (product_fours, _) = products.as_chunks_mut::<4>();
    for ((product, input), range) in product_fours.iter_mut().zip(fours).zip(range_fours) {
        store(product, vmulq_f32(load(input), load_f16(range)));
    }
    for ((product, input), range) in
        products[fours.len() * 4..].iter_mut().zip(rest).zip(range_rest)
    {
        *product = input * range.to_f32();
    }
    let fours = products.as_chunks::<4>().0;
    let mut magnitudes = vdupq_n_f32(0.0);
    for four in fours {
        magnitudes = vmaxnmq_f32(magnitudes, vabsq_f32(load(four)));
    }
    let largest = vmaxnmvq_f32(magnitudes);
    let (scale, inverse) = if largest < ACTIVATION_MIN {
        (0.0, 0.0)
    } else {
        (largest / INPUT_MAX, INPUT_MAX / largest)
    };
    for (codes, [low, high]) in out.codes.as_chunks_mut().0.iter_mut().zip(fours.as_chunks().0) {
        // To nearest, ties to even.
        let [low, high] = [low, high].map(|four| vcvtnq_s32_f32(vmulq_n_f32(load(four), inverse)));
        store_words(codes, vqmovn_high_s32(vqmovn_s32(low), high));
    }
    out.scale = scale;
}
