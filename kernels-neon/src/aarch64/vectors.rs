//! Operations on vectors that need no exponential.

use std::arch::aarch64::*;

use half::f16;
use hardtack_kernels::scalar;

use super::lanes::{load, load_f16, store};

/// `sum of x^2`
#[target_feature(enable = "neon")]
pub(super) fn sum_squares(x: &[f32]) -> f32 {
    dot(x, x)
}

/// `out = x * scale * gain`
#[target_feature(enable = "neon")]
pub(super) fn scale_gain(x: &[f32], scale: f32, gain: &[f32], out: &mut [f32]) {
    assert!(x.len() == gain.len() && x.len() == out.len(), "equal lengths");
    let (x, x_rest) = x.as_chunks();
    let (gain, gain_rest) = gain.as_chunks();
    let (out, out_rest) = out.as_chunks_mut();
    for ((x, gain), out) in x.iter().zip(gain).zip(out) {
        store(out, vmulq_f32(vmulq_n_f32(load(x), scale), load(gain)));
    }
    (scalar::TABLE.scale_gain)(x_rest, scale, gain_rest, out_rest);
}

/// `sum of a * b`
#[target_feature(enable = "neon")]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "equal lengths");
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    let mut sums = [vdupq_n_f32(0.0); 4];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a.as_chunks().0).zip(b.as_chunks().0) {
            *sum = vfmaq_f32(*sum, load(a), load(b));
        }
    }
    add_all(sums) + (scalar::TABLE.dot)(a_rest, b_rest)
}

/// `sum of a * b`
#[target_feature(enable = "neon")]
pub(super) fn dot_f16(a: &[f32], b: &[f16]) -> f32 {
    assert_eq!(a.len(), b.len(), "equal lengths");
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    let mut sums = [vdupq_n_f32(0.0); 4];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a.as_chunks().0).zip(b.as_chunks().0) {
            *sum = vfmaq_f32(*sum, load(a), load_f16(b));
        }
    }
    add_all(sums) + (scalar::TABLE.dot_f16)(a_rest, b_rest)
}

/// `out += weight * x`, each product rounded as scalar does.
#[target_feature(enable = "neon")]
pub(super) fn add_scaled(out: &mut [f32], weight: f32, x: &[f32]) {
    assert_eq!(out.len(), x.len(), "equal lengths");
    let (out, out_rest) = out.as_chunks_mut();
    let (x, x_rest) = x.as_chunks();
    for (out, x) in out.iter_mut().zip(x) {
        store(out, vaddq_f32(load(out), vmulq_n_f32(load(x), weight)));
    }
    (scalar::TABLE.add_scaled)(out_rest, weight, x_rest);
}

/// `out += weight * x`, each product rounded as scalar does.
#[target_feature(enable = "neon")]
pub(super) fn add_scaled_f16(out: &mut [f32], weight: f32, x: &[f16]) {
    assert_eq!(out.len(), x.len(), "equal lengths");
    let (out, out_rest) = out.as_chunks_mut();
    let (x, x_rest) = x.as_chunks();
    for (out, x) in out.iter_mut().zip(x) {
        store(out, vaddq_f32(load(out), vmulq_n_f32(load_f16(x), weight)));
    }
    (scalar::TABLE.add_scaled_f16)(out_rest, weight, x_rest);
}

/// The largest element; negative infinity of none.
#[target_feature(enable = "neon")]
pub(super) fn maximum(x: &[f32]) -> f32 {
    let (x, rest) = x.as_chunks::<16>();
    let mut largest = [vdupq_n_f32(f32::NEG_INFINITY); 4];
    for x in x {
        for (largest, x) in largest.iter_mut().zip(x.as_chunks().0) {
            // Of a number and a NaN it takes the number, as `f32::max` does.
            *largest = vmaxnmq_f32(*largest, load(x));
        }
    }
    let [a, b, c, d] = largest;
    vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(a, b), vmaxnmq_f32(c, d)))
        .max((scalar::TABLE.maximum)(rest))
}

#[inline]
#[target_feature(enable = "neon")]
fn add_all([a, b, c, d]: [float32x4_t; 4]) -> f32 {
    vaddvq_f32(vaddq_f32(vaddq_f32(a, b), vaddq_f32(c, d)))
}
