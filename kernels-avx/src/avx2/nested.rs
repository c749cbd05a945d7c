//! Products with nested codes: bytes of two rows side by side, widened to 16 bits, meet a pair of
//! inputs at once.

use core::arch::x86_64::{
    __m256i, _mm_cvtsi32_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16, _mm256_cvtps_epi32,
    _mm256_extracti128_si256, _mm256_madd_epi16, _mm256_mul_ps, _mm256_or_si256,
    _mm256_packs_epi32, _mm256_permute4x64_epi64, _mm256_set1_epi8, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_si256, _mm256_sll_epi16, _mm256_srl_epi16,
};

use half::f16;
use hardtack_kernels::math::ACTIVATION_MIN;
use hardtack_kernels::nested::{
    CodeGroup, Folded, GROUP_ROWS, INPUT_MAX, TILE_COLUMNS, TILE_ROWS, TILE_UNIT_BYTES, check_fold,
};

use super::memory::{self, load_32_bytes, load_f16, load_floats, store_floats, store_words};
use super::quantize::largest_magnitude;

/// Inputs at once: their sums and what unpacks codes fit in the registers.
const INPUTS: usize = 3;
/// Vectors of a tile that hold the same half of its columns, one for each pair of rows.
pub(super) const PAIRS: usize = TILE_ROWS / 2;

pub(crate) type Units<'a> = [&'a [[u8; TILE_UNIT_BYTES]]; 8];

/// Unpacks codes anew for every three inputs. Lengths are checked already.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn few_inputs(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    match group.bits {
        2 => rows_bits::<2>(group, inputs, out),
        3 => rows_bits::<3>(group, inputs, out),
        4 => rows_bits::<4>(group, inputs, out),
        6 => rows_bits::<6>(group, inputs, out),
        _ => rows_bits::<8>(group, inputs, out),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn rows_bits<const BITS: i32>(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    let units = group.units.map(|unit| unit.as_chunks().0);
    let (several, rest) = inputs.as_chunks::<INPUTS>();
    let (several_out, rest_out) = out.split_at_mut(several.len() * INPUTS * group.columns);
    for (inputs, out) in several.iter().zip(several_out.chunks_exact_mut(INPUTS * group.columns)) {
        rows::<BITS, INPUTS>(&units, group, inputs, out);
    }
    match rest {
        [] => {}
        [one] => rows::<BITS, 1>(&units, group, core::array::from_ref(one), rest_out),
        _ => {
            rows::<BITS, 2>(&units, group, rest.first_chunk().expect("fewer than three"), rest_out)
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn rows<const BITS: i32, const COUNT: usize>(
    units: &Units<'_>,
    group: &CodeGroup<'_>,
    inputs: &[Folded; COUNT],
    out: &mut [f32],
) {
    for columns in 0..group.columns / TILE_COLUMNS {
        half_tiles::<BITS, COUNT, 0>(units, group, inputs, columns, out);
        half_tiles::<BITS, COUNT, 1>(units, group, inputs, columns, out);
    }
}

/// Half of the columns that a tile has. Which half is a constant, so that codes are shifted by
/// constants.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn half_tiles<const BITS: i32, const COUNT: usize, const HALF: usize>(
    units: &Units<'_>,
    group: &CodeGroup<'_>,
    inputs: &[Folded; COUNT],
    columns: usize,
    out: &mut [f32],
) {
    let tiles = group.rows / TILE_ROWS;
    let mut sums = [[_mm256_setzero_si256(); 2]; COUNT];
    for tile in 0..tiles {
        for pair in 0..PAIRS {
            let codes = unpack::<BITS>(units, columns * tiles + tile, pair * 2 + HALF);
            let low = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(codes));
            let high = _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(codes));
            for index in 0..COUNT {
                let input = broadcast_pair(&inputs[index], tile * TILE_ROWS + pair * 2);
                sums[index][0] = _mm256_add_epi32(sums[index][0], _mm256_madd_epi16(low, input));
                sums[index][1] = _mm256_add_epi32(sums[index][1], _mm256_madd_epi16(high, input));
            }
        }
    }
    let first = columns * TILE_COLUMNS + HALF * 16;
    for index in 0..COUNT {
        add_scaled(
            sums[index],
            inputs[index].scale,
            &mut out[index * group.columns + first..][..16],
        );
    }
}

/// Adds the sums of 16 columns, times their input's scale.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn add_scaled(sums: [__m256i; 2], scale: f32, out: &mut [f32]) {
    let scale = _mm256_set1_ps(scale);
    for (out, sum) in out.as_chunks_mut().0.iter_mut().zip(sums) {
        // Never fused: scalar rounds the product too.
        let product = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale);
        store_floats(out, _mm256_add_ps(load_floats(out), product));
    }
}

/// Vector `vector` of a tile: codes of 16 columns, two rows of each side by side.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn unpack<const BITS: i32>(units: &Units<'_>, tile: usize, vector: usize) -> __m256i {
    let (pair, two, one) = (vector / 4, (vector % 4 * 2) as i32, vector as i32);
    let mut codes = part(&units[pair][tile], two, 3, BITS - 2);
    if BITS >= 3 {
        codes = _mm256_or_si256(codes, part(&units[2][tile], one, 1, BITS - 3));
    }
    if BITS >= 4 {
        codes = _mm256_or_si256(codes, part(&units[3][tile], one, 1, BITS - 4));
    }
    if BITS >= 6 {
        codes = _mm256_or_si256(codes, part(&units[4 + pair][tile], two, 3, BITS - 6));
    }
    if BITS >= 8 {
        codes = _mm256_or_si256(codes, part(&units[6 + pair][tile], two, 3, 0));
    }
    codes
}

/// The bits of `mask` at `field` of every byte, moved to `place`. Shifts cross bytes; what comes
/// over is masked away.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn part(bytes: &[u8; TILE_UNIT_BYTES], field: i32, mask: i8, place: i32) -> __m256i {
    let bytes = load_32_bytes(bytes);
    let moved = if field >= place {
        _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(field - place))
    } else {
        _mm256_sll_epi16(bytes, _mm_cvtsi32_si128(place - field))
    };
    _mm256_and_si256(moved, _mm256_set1_epi8(mask << place))
}

/// The inputs of two rows, in all eight lanes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn broadcast_pair(input: &Folded, row: usize) -> __m256i {
    _mm256_set1_epi32(input_pair(input, row))
}

/// The inputs of two rows side by side.
#[inline]
pub(crate) fn input_pair(input: &Folded, row: usize) -> i32 {
    let [even, odd] = [input.codes[row], input.codes[row + 1]].map(i16::cast_unsigned);
    (u32::from(odd) << 16 | u32::from(even)).cast_signed()
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn prefetch(group: &CodeGroup<'_>, scales: [&[f16]; 2]) {
    group.units[..group.bits as usize].iter().for_each(|unit| memory::prefetch(unit));
    scales.into_iter().for_each(|scales| memory::prefetch(scales));
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn fold(inputs: &[f32], ranges: &[f16], out: &mut Folded) {
    check_fold(inputs, ranges);
    let mut products = [0.0; GROUP_ROWS];
    let ((vectors, tail), (range_vectors, range_tail)) = (inputs.as_chunks(), ranges.as_chunks());
    let (product_vectors, _) = products.as_chunks_mut();
    for ((product, input), range) in product_vectors.iter_mut().zip(vectors).zip(range_vectors) {
        store_floats(product, _mm256_mul_ps(load_floats(input), load_f16(range)));
    }
    let product_tail = &mut products[vectors.len() * 8..];
    for ((product, input), range) in product_tail.iter_mut().zip(tail).zip(range_tail) {
        *product = input * range.to_f32();
    }
    let largest = largest_magnitude(&products);
    let (scale, inverse) = if largest < ACTIVATION_MIN {
        (0.0, 0.0)
    } else {
        (largest / INPUT_MAX, INPUT_MAX / largest)
    };
    let inverse = _mm256_set1_ps(inverse);
    for (codes, products) in
        out.codes.as_chunks_mut().0.iter_mut().zip(products.as_chunks::<16>().0)
    {
        let (halves, _) = products.as_chunks();
        let low = _mm256_mul_ps(load_floats(&halves[0]), inverse);
        let high = _mm256_mul_ps(load_floats(&halves[1]), inverse);
        // To nearest, ties to even, as `math::round` does. Packing stays within halves of vectors,
        // which brings the fours into the order a0 b0 a1 b1.
        let words = _mm256_packs_epi32(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high));
        store_words(codes, _mm256_permute4x64_epi64::<0b11_01_10_00>(words));
    }
    out.scale = scale;
}

const _: () = assert!(TILE_COLUMNS == 32 && TILE_UNIT_BYTES == 32);
