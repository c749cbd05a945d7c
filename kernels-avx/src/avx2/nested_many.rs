//! Products of nested codes with many inputs, as prompts have them: codes are unpacked and widened
//! once for all of them.
//!
//! Sums are of integers, so that they are those of [`super::nested`] in any order.

use core::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_castsi256_si128, _mm256_cvtepu8_epi16,
    _mm256_extracti128_si256, _mm256_madd_epi16, _mm256_setzero_si256,
};

use hardtack_kernels::nested::{CodeGroup, Folded, GROUP_ROWS, TILE_COLUMNS, TILE_ROWS};

use super::nested::{PAIRS, Units, add_scaled, broadcast_pair, few_inputs, unpack};

/// From this many inputs on, unpacking codes once for all of them is worth it.
const INPUTS_MIN: usize = 8;

/// Codes of 16 columns of two rows: columns 0..8 and 8..16, the two rows side by side.
pub(crate) type Pair = [__m256i; 2];
/// Sums of 16 columns for some inputs.
pub(crate) type Sums<const TOGETHER: usize> = [[__m256i; 2]; TOGETHER];
/// Every two rows of a tile's columns 0..16 and 16..32.
type Unpacked = [[Pair; GROUP_ROWS / 2]; 2];

/// As [`hardtack_kernels::KernelTable::code_rows`] says.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn code_rows(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    code_rows_by(group, inputs, out, |pairs, inputs| multiply(pairs, inputs));
}

/// Adds a group's products with the inputs to their rows of `out`. Many inputs are taken by
/// `multiply`, `TOGETHER` at a time: it returns the sums of the products of all pairs of rows with
/// theirs.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn code_rows_by<const TOGETHER: usize>(
    group: &CodeGroup<'_>,
    inputs: &[Folded],
    out: &mut [f32],
    multiply: impl Fn(&[Pair], &[Folded; TOGETHER]) -> Sums<TOGETHER>,
) {
    group.check();
    assert_eq!(out.len(), inputs.len() * group.columns, "a row for each input");
    let (many, few) =
        if inputs.len() < INPUTS_MIN { (&[][..], inputs) } else { inputs.as_chunks() };
    let (many_out, few_out) = out.split_at_mut(many.len() * TOGETHER * group.columns);
    many_inputs(group, many, many_out, multiply);
    few_inputs(group, few, few_out);
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn many_inputs<const TOGETHER: usize>(
    group: &CodeGroup<'_>,
    inputs: &[[Folded; TOGETHER]],
    out: &mut [f32],
    multiply: impl Fn(&[Pair], &[Folded; TOGETHER]) -> Sums<TOGETHER>,
) {
    if inputs.is_empty() {
        return;
    }
    let units = group.units.map(|unit| unit.as_chunks().0);
    let tiles = group.rows / TILE_ROWS;
    let mut unpacked = [[[_mm256_setzero_si256(); 2]; GROUP_ROWS / 2]; 2];
    for columns in 0..group.columns / TILE_COLUMNS {
        let first_tile = columns * tiles;
        match group.bits {
            2 => unpack_tiles::<2>(&units, first_tile, tiles, &mut unpacked),
            3 => unpack_tiles::<3>(&units, first_tile, tiles, &mut unpacked),
            4 => unpack_tiles::<4>(&units, first_tile, tiles, &mut unpacked),
            6 => unpack_tiles::<6>(&units, first_tile, tiles, &mut unpacked),
            _ => unpack_tiles::<8>(&units, first_tile, tiles, &mut unpacked),
        }
        for (half, pairs) in unpacked.iter().enumerate() {
            let pairs = &pairs[..tiles * PAIRS];
            let first = columns * TILE_COLUMNS + half * 16;
            for (inputs, out) in inputs.iter().zip(out.chunks_exact_mut(TOGETHER * group.columns)) {
                let sums = multiply(pairs, inputs);
                for ((input, out), sums) in
                    inputs.iter().zip(out.chunks_exact_mut(group.columns)).zip(sums)
                {
                    add_scaled(sums, input.scale, &mut out[first..][..16]);
                }
            }
        }
    }
}

/// The rows of some columns, from their first tile on.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn unpack_tiles<const BITS: i32>(
    units: &Units<'_>,
    first: usize,
    tiles: usize,
    unpacked: &mut Unpacked,
) {
    for tile in 0..tiles {
        for pair in 0..PAIRS {
            for half in 0..2 {
                let codes = unpack::<BITS>(units, first + tile, pair * 2 + half);
                let low = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(codes));
                let high = _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(codes));
                unpacked[half][tile * PAIRS + pair] = [low, high];
            }
        }
    }
}

/// Inputs at once: their sums and what they meet fit in the registers.
const TOGETHER: usize = 4;

#[target_feature(enable = "avx2,fma,f16c")]
fn multiply(pairs: &[Pair], inputs: &[Folded; TOGETHER]) -> Sums<TOGETHER> {
    let mut sums = [[_mm256_setzero_si256(); 2]; TOGETHER];
    for (pair, codes) in pairs.iter().enumerate().take(GROUP_ROWS / 2) {
        for index in 0..TOGETHER {
            let input = broadcast_pair(&inputs[index], pair * 2);
            for half in 0..2 {
                let products = _mm256_madd_epi16(codes[half], input);
                sums[index][half] = _mm256_add_epi32(sums[index][half], products);
            }
        }
    }
    sums
}
