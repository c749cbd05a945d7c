//! Eight weights of a column, as floats.

use core::arch::x86_64::{
    __m256, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_slli_epi32,
};

use super::memory::{load_16_bytes, load_32_bytes};

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn f32(bytes: &[u8; 32]) -> __m256 {
    _mm256_castsi256_ps(load_32_bytes(bytes))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn f16(bytes: &[u8; 16]) -> __m256 {
    _mm256_cvtph_ps(load_16_bytes(bytes))
}

/// A bfloat16 is the upper half of a float.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn bf16(bytes: &[u8; 16]) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(load_16_bytes(bytes))))
}
