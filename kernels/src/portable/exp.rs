//! `exp` and what is made of it, by the steps of `crate::math` and so without fused operations.

use wide::{f32x8, i32x8};

use super::memory::{from_bits, to_bits};
use crate::math::{EXP_MAX, EXP_MIN, EXP_POLYNOMIAL, LN_2_HIGH, LN_2_LOW, LOG2_E, ROUNDER};
use crate::scalar;

pub(super) fn exp_sum(x: &mut [f32], maximum: f32) -> f32 {
    let (vectors, tail) = x.as_chunks_mut();
    let mut sum = f32x8::ZERO;
    for vector in vectors {
        let result = exp(f32x8::new(*vector) - f32x8::splat(maximum));
        *vector = result.to_array();
        sum += result;
    }
    sum.reduce_add() + (scalar::TABLE.exp_sum)(tail, maximum)
}

pub(super) fn silu_multiply(gated: &mut [f32], up: &[f32]) {
    assert_eq!(gated.len(), up.len(), "equal lengths");
    let ((gated, gated_tail), (up, up_tail)) = (gated.as_chunks_mut(), up.as_chunks());
    for (gated, up) in gated.iter_mut().zip(up) {
        let g = f32x8::new(*gated);
        *gated = (g * sigmoid(g) * f32x8::new(*up)).to_array();
    }
    (scalar::TABLE.silu_multiply)(gated_tail, up_tail);
}

pub(super) fn clamped_swiglu(gated: &mut [f32], up: &[f32], alpha: f32, limit: f32) {
    assert_eq!(gated.len(), up.len(), "equal lengths");
    let ((gated, gated_tail), (up, up_tail)) = (gated.as_chunks_mut(), up.as_chunks());
    for (gated, up) in gated.iter_mut().zip(up) {
        let g = f32x8::new(*gated).fast_min(f32x8::splat(limit));
        let u = f32x8::new(*up).fast_max(f32x8::splat(-limit)).fast_min(f32x8::splat(limit));
        *gated = (g * sigmoid(g * f32x8::splat(alpha)) * (u + f32x8::ONE)).to_array();
    }
    (scalar::TABLE.clamped_swiglu)(gated_tail, up_tail, alpha, limit);
}

/// `crate::math::sigmoid`
#[inline]
fn sigmoid(x: f32x8) -> f32x8 {
    f32x8::ONE / (f32x8::ONE + exp(-x))
}

/// `crate::math::exp`
#[inline]
fn exp(x: f32x8) -> f32x8 {
    let below = x.simd_lt(f32x8::splat(EXP_MIN));
    let x = x.fast_min(f32x8::splat(EXP_MAX));
    let rounder = f32x8::splat(ROUNDER);
    let rounded = x * f32x8::splat(LOG2_E) + rounder;
    let exponent = rounded - rounder;
    let r = (x - exponent * f32x8::splat(LN_2_HIGH)) - exponent * f32x8::splat(LN_2_LOW);
    let mut polynomial = f32x8::splat(EXP_POLYNOMIAL[0]);
    for coefficient in &EXP_POLYNOMIAL[1..] {
        polynomial = polynomial * r + f32x8::splat(*coefficient);
    }
    let mantissa = (polynomial * (r * r) + r) + f32x8::ONE;
    // The lowest bits of what was rounded are the exponent as an integer.
    let power = from_bits((to_bits(rounded) + i32x8::splat(127)) << 23);
    !below & (mantissa * power)
}
