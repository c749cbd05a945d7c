//! Operations on vectors that need the exponential, by the steps of `hardtack_kernels::math`, so
//! equal to scalar to the bit (but for the order of the sum).

use std::arch::aarch64::*;

use hardtack_kernels::math::{EXP_MAX, EXP_MIN, EXP_POLYNOMIAL, LN_2_HIGH, LN_2_LOW, LOG2_E};
use hardtack_kernels::scalar;

use super::lanes::{load, store};

/// `x = exp(x - maximum)`, and the sum of the results.
#[target_feature(enable = "neon")]
pub(super) fn exp_sum(x: &mut [f32], maximum: f32) -> f32 {
    let (x, rest) = x.as_chunks_mut();
    let mut sum = vdupq_n_f32(0.0);
    for x in x {
        let result = exp(vsubq_f32(load(x), vdupq_n_f32(maximum)));
        sum = vaddq_f32(sum, result);
        store(x, result);
    }
    vaddvq_f32(sum) + (scalar::TABLE.exp_sum)(rest, maximum)
}

/// `gated = gated * sigmoid(gated) * up`
#[target_feature(enable = "neon")]
pub(super) fn silu_multiply(gated: &mut [f32], up: &[f32]) {
    assert_eq!(gated.len(), up.len(), "equal lengths");
    let (gated, gated_rest) = gated.as_chunks_mut();
    let (up, up_rest) = up.as_chunks();
    for (gated, up) in gated.iter_mut().zip(up) {
        let g = load(gated);
        store(gated, vmulq_f32(vmulq_f32(g, sigmoid(g)), load(up)));
    }
    (scalar::TABLE.silu_multiply)(gated_rest, up_rest);
}

/// `g = min(gated, limit)`, `u = clamp(up, -limit, limit)`: `gated = g * sigmoid(alpha * g) * (u +
/// 1)`
#[target_feature(enable = "neon")]
pub(super) fn clamped_swiglu(gated: &mut [f32], up: &[f32], alpha: f32, limit: f32) {
    assert_eq!(gated.len(), up.len(), "equal lengths");
    let (gated, gated_rest) = gated.as_chunks_mut();
    let (up, up_rest) = up.as_chunks();
    for (gated, up) in gated.iter_mut().zip(up) {
        // Of a number and a NaN `minnm` takes the number, as `f32::min` does; `min` and `max` keep
        // a NaN, as `clamp` does.
        let g = vminnmq_f32(load(gated), vdupq_n_f32(limit));
        let u = vminq_f32(vmaxq_f32(load(up), vdupq_n_f32(-limit)), vdupq_n_f32(limit));
        let activated = vmulq_f32(g, sigmoid(vmulq_n_f32(g, alpha)));
        store(gated, vmulq_f32(activated, vaddq_f32(u, vdupq_n_f32(1.0))));
    }
    (scalar::TABLE.clamped_swiglu)(gated_rest, up_rest, alpha, limit);
}

/// `1 / (1 + e^-x)`
#[inline]
#[target_feature(enable = "neon")]
fn sigmoid(x: float32x4_t) -> float32x4_t {
    let one = vdupq_n_f32(1.0);
    vdivq_f32(one, vaddq_f32(one, exp(vnegq_f32(x))))
}

/// `e^x`, as `hardtack_kernels::math::exp`.
#[inline]
#[target_feature(enable = "neon")]
fn exp(x: float32x4_t) -> float32x4_t {
    let too_low = vcltq_f32(x, vdupq_n_f32(EXP_MIN));
    let x = vminq_f32(x, vdupq_n_f32(EXP_MAX));
    // To nearest, ties to even, as adding and subtracting `ROUNDER` does.
    let exponent = vrndnq_f32(vmulq_n_f32(x, LOG2_E));
    let high = vsubq_f32(x, vmulq_n_f32(exponent, LN_2_HIGH));
    let r = vsubq_f32(high, vmulq_n_f32(exponent, LN_2_LOW));
    let mut polynomial = vdupq_n_f32(EXP_POLYNOMIAL[0]);
    for &coefficient in &EXP_POLYNOMIAL[1..] {
        polynomial = vaddq_f32(vmulq_f32(polynomial, r), vdupq_n_f32(coefficient));
    }
    let tail = vaddq_f32(vmulq_f32(polynomial, vmulq_f32(r, r)), r);
    let mantissa = vaddq_f32(tail, vdupq_n_f32(1.0));
    let power = vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(exponent), vdupq_n_s32(127)));
    let result = vmulq_f32(mantissa, vreinterpretq_f32_s32(power));
    vbslq_f32(too_low, vdupq_n_f32(0.0), result)
}
