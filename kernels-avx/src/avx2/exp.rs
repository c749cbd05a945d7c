//! `exp` and what is made of it, by the steps of `hardtack_kernels::math` and so without fused
//! operations: elements are scalar's to the bit.

use core::arch::x86_64::{
    __m256, _CMP_LT_OQ, _mm256_add_epi32, _mm256_add_ps, _mm256_andnot_ps, _mm256_castsi256_ps,
    _mm256_cmp_ps, _mm256_cvtps_epi32, _mm256_div_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_slli_epi32, _mm256_sub_ps,
    _mm256_xor_ps,
};

use hardtack_kernels::math::{
    EXP_MAX, EXP_MIN, EXP_POLYNOMIAL, LN_2_HIGH, LN_2_LOW, LOG2_E, ROUNDER,
};
use hardtack_kernels::scalar;

use super::memory::{load_floats, store_floats};
use super::sums::lanes_sum;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn exp_sum(x: &mut [f32], maximum: f32) -> f32 {
    let (vectors, tail) = x.as_chunks_mut();
    let largest = _mm256_set1_ps(maximum);
    let mut sum = _mm256_setzero_ps();
    for x in vectors {
        let result = exp(_mm256_sub_ps(load_floats(x), largest));
        store_floats(x, result);
        sum = _mm256_add_ps(sum, result);
    }
    lanes_sum(sum) + (scalar::TABLE.exp_sum)(tail, maximum)
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn silu_multiply(gated: &mut [f32], up: &[f32]) {
    assert_eq!(gated.len(), up.len(), "equal lengths");
    let ((gated, gated_tail), (up, up_tail)) = (gated.as_chunks_mut(), up.as_chunks());
    for (gated, up) in gated.iter_mut().zip(up) {
        let g = load_floats(gated);
        store_floats(gated, _mm256_mul_ps(_mm256_mul_ps(g, sigmoid(g)), load_floats(up)));
    }
    (scalar::TABLE.silu_multiply)(gated_tail, up_tail);
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn clamped_swiglu(gated: &mut [f32], up: &[f32], alpha: f32, limit: f32) {
    assert_eq!(gated.len(), up.len(), "equal lengths");
    let ((gated, gated_tail), (up, up_tail)) = (gated.as_chunks_mut(), up.as_chunks());
    let (high, low) = (_mm256_set1_ps(limit), _mm256_set1_ps(-limit));
    for (gated, up) in gated.iter_mut().zip(up) {
        let g = _mm256_min_ps(load_floats(gated), high);
        let u = _mm256_min_ps(_mm256_max_ps(load_floats(up), low), high);
        let gate = _mm256_mul_ps(g, sigmoid(_mm256_mul_ps(_mm256_set1_ps(alpha), g)));
        store_floats(gated, _mm256_mul_ps(gate, _mm256_add_ps(u, _mm256_set1_ps(1.0))));
    }
    (scalar::TABLE.clamped_swiglu)(gated_tail, up_tail, alpha, limit);
}

/// `hardtack_kernels::math::sigmoid`
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn sigmoid(x: __m256) -> __m256 {
    let one = _mm256_set1_ps(1.0);
    let minus_x = _mm256_xor_ps(x, _mm256_set1_ps(-0.0));
    _mm256_div_ps(one, _mm256_add_ps(one, exp(minus_x)))
}

/// `hardtack_kernels::math::exp`
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn exp(x: __m256) -> __m256 {
    let below = _mm256_cmp_ps::<_CMP_LT_OQ>(x, _mm256_set1_ps(EXP_MIN));
    // In this order `min` passes a NaN on, as scalar does.
    let x = _mm256_min_ps(_mm256_set1_ps(EXP_MAX), x);
    let rounder = _mm256_set1_ps(ROUNDER);
    let exponent =
        _mm256_sub_ps(_mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(LOG2_E)), rounder), rounder);
    let r = _mm256_sub_ps(x, _mm256_mul_ps(exponent, _mm256_set1_ps(LN_2_HIGH)));
    let r = _mm256_sub_ps(r, _mm256_mul_ps(exponent, _mm256_set1_ps(LN_2_LOW)));
    let mut polynomial = _mm256_set1_ps(EXP_POLYNOMIAL[0]);
    for coefficient in &EXP_POLYNOMIAL[1..] {
        polynomial = _mm256_add_ps(_mm256_mul_ps(polynomial, r), _mm256_set1_ps(*coefficient));
    }
    let fraction = _mm256_add_ps(_mm256_mul_ps(polynomial, _mm256_mul_ps(r, r)), r);
    let mantissa = _mm256_add_ps(fraction, _mm256_set1_ps(1.0));
    let biased = _mm256_add_epi32(_mm256_cvtps_epi32(exponent), _mm256_set1_epi32(127));
    let power = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased));
    _mm256_andnot_ps(below, _mm256_mul_ps(mantissa, power))
}
