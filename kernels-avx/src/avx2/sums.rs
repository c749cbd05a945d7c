//! Operations with one result: sums of products, and the maximum.

use core::arch::x86_64::{
    __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_max_ps, _mm_max_ss, _mm_movehdup_ps,
    _mm_movehl_ps, _mm256_add_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps,
    _mm256_max_ps, _mm256_set1_ps, _mm256_setzero_ps,
};

use half::f16;
use hardtack_kernels::scalar;

use super::memory::{load_f16, load_floats};

/// Vectors at once: as many chains of additions hide their latency.
const CHAINS: usize = 4;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn sum_squares(x: &[f32]) -> f32 {
    dot(x, x)
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "equal lengths");
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks(), b.as_chunks());
    dot_vectors(a, b) + (scalar::TABLE.dot)(a_tail, b_tail)
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot_f16(a: &[f32], b: &[f16]) -> f32 {
    assert_eq!(a.len(), b.len(), "equal lengths");
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks(), b.as_chunks());
    dot_f16_vectors(a, b) + (scalar::TABLE.dot_f16)(a_tail, b_tail)
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn maximum(x: &[f32]) -> f32 {
    let (vectors, tail) = x.as_chunks();
    maximum_vectors(vectors).max((scalar::TABLE.maximum)(tail))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_vectors(a: &[[f32; 8]], b: &[[f32; 8]]) -> f32 {
    let mut sums = [_mm256_setzero_ps(); CHAINS];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<CHAINS>(), b.as_chunks::<CHAINS>());
    for (a, b) in a.iter().zip(b) {
        for chain in 0..CHAINS {
            sums[chain] =
                _mm256_fmadd_ps(load_floats(&a[chain]), load_floats(&b[chain]), sums[chain]);
        }
    }
    for (chain, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[chain] = _mm256_fmadd_ps(load_floats(a), load_floats(b), sums[chain]);
    }
    lanes_sum(chains_sum(sums))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_f16_vectors(a: &[[f32; 8]], b: &[[f16; 8]]) -> f32 {
    let mut sums = [_mm256_setzero_ps(); CHAINS];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<CHAINS>(), b.as_chunks::<CHAINS>());
    for (a, b) in a.iter().zip(b) {
        for chain in 0..CHAINS {
            sums[chain] = _mm256_fmadd_ps(load_floats(&a[chain]), load_f16(&b[chain]), sums[chain]);
        }
    }
    for (chain, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[chain] = _mm256_fmadd_ps(load_floats(a), load_f16(b), sums[chain]);
    }
    lanes_sum(chains_sum(sums))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn maximum_vectors(x: &[[f32; 8]]) -> f32 {
    let mut maxima = [_mm256_set1_ps(f32::NEG_INFINITY); CHAINS];
    let (x, x_rest) = x.as_chunks::<CHAINS>();
    for x in x {
        for chain in 0..CHAINS {
            maxima[chain] = _mm256_max_ps(maxima[chain], load_floats(&x[chain]));
        }
    }
    for (chain, x) in x_rest.iter().enumerate() {
        maxima[chain] = _mm256_max_ps(maxima[chain], load_floats(x));
    }
    let [a, b, c, d] = maxima;
    lanes_maximum(_mm256_max_ps(_mm256_max_ps(a, b), _mm256_max_ps(c, d)))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn chains_sum([a, b, c, d]: [__m256; CHAINS]) -> __m256 {
    _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d))
}

/// The sum of the eight lanes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn lanes_sum(x: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// The largest of the eight lanes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn lanes_maximum(x: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
}
