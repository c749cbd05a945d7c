//! Activations to int8 by groups of 64, to the bit as scalar does it.

use core::arch::x86_64::{
    __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_shuffle_epi32, _mm256_add_epi32,
    _mm256_andnot_ps, _mm256_castsi256_si128, _mm256_cvtps_epi32, _mm256_extracti128_si256,
    _mm256_max_ps, _mm256_mul_ps, _mm256_packs_epi16, _mm256_packs_epi32,
    _mm256_permutevar8x32_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_ps,
    _mm256_setzero_si256,
};

use hardtack_format::encoding::GROUP_COLUMNS;
use hardtack_kernels::math::ACTIVATION_MIN;
use hardtack_kernels::{ActivationsMut, scalar};

use super::memory::{load_floats, store_codes};
use super::sums::lanes_maximum;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantize(out: ActivationsMut<'_>) {
    out.check();
    let (groups, tail) = out.floats.as_chunks();
    let (codes, tail_codes) = out.codes.split_at_mut(groups.len() * GROUP_COLUMNS);
    let (scales, tail_scales) = out.scales.split_at_mut(groups.len());
    let (sums, tail_sums) = out.sums.split_at_mut(groups.len());
    let all_codes = codes.as_chunks_mut().0;
    for (((floats, codes), scale), sum) in groups.iter().zip(all_codes).zip(scales).zip(sums) {
        (*scale, *sum) = quantize_group(floats, codes);
    }
    (scalar::TABLE.quantize)(ActivationsMut {
        floats: tail,
        codes: tail_codes,
        scales: tail_scales,
        sums: tail_sums,
    });
}

/// Scale and sum of a group, its codes written.
#[target_feature(enable = "avx2,fma,f16c")]
fn quantize_group(floats: &[f32; GROUP_COLUMNS], codes: &mut [i8; GROUP_COLUMNS]) -> (f32, f32) {
    let (vectors, _) = floats.as_chunks();
    let largest = largest_magnitude(floats);
    let (scale, inverse) =
        if largest < ACTIVATION_MIN { (0.0, 0.0) } else { (largest / 127.0, 127.0 / largest) };

    let mut sum = _mm256_setzero_si256();
    let (vectors, _) = vectors.as_chunks::<4>();
    let (codes, _) = codes.as_chunks_mut::<16>();
    for (vectors, codes) in vectors.iter().zip(codes.as_chunks_mut::<2>().0) {
        let mut integers = [_mm256_setzero_si256(); 4];
        for (integers, vector) in integers.iter_mut().zip(vectors) {
            // Rounds ties to even, as `math::round` does.
            *integers =
                _mm256_cvtps_epi32(_mm256_mul_ps(load_floats(vector), _mm256_set1_ps(inverse)));
            sum = _mm256_add_epi32(sum, *integers);
        }
        let packed = pack(integers);
        store_codes(&mut codes[0], _mm256_castsi256_si128(packed));
        store_codes(&mut codes[1], _mm256_extracti128_si256::<1>(packed));
    }
    (scale, lanes_sum(sum) as f32 * scale)
}

/// The largest magnitude of a group.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn largest_magnitude(floats: &[f32; GROUP_COLUMNS]) -> f32 {
    let mut largest = _mm256_setzero_ps();
    for vector in floats.as_chunks().0 {
        largest =
            _mm256_max_ps(largest, _mm256_andnot_ps(_mm256_set1_ps(-0.0), load_floats(vector)));
    }
    lanes_maximum(largest)
}

/// 32 integers within int8, as bytes in their order.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn pack([a, b, c, d]: [__m256i; 4]) -> __m256i {
    let bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    // Packing stays within halves of vectors; this brings the quads a0 b0 c0 d0 a1 b1 c1 d1 back
    // into order.
    _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn lanes_sum(x: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
}
