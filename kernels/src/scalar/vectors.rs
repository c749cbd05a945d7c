//! Operations on vectors.

use half::f16;
use hardtack_format::encoding::GROUP_COLUMNS;

use crate::activations::ActivationsMut;
use crate::attention::{Scores, gather_each, score_each};
use crate::math::{ACTIVATION_MIN, exp, round, sigmoid};

pub(crate) fn quantize(out: ActivationsMut<'_>) {
    out.check();
    for (group, values) in out.floats.chunks(GROUP_COLUMNS).enumerate() {
        let codes = &mut out.codes[group * GROUP_COLUMNS..(group + 1) * GROUP_COLUMNS];
        let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let (scale, inverse) =
            if largest < ACTIVATION_MIN { (0.0, 0.0) } else { (largest / 127.0, 127.0 / largest) };
        let mut sum = 0i32;
        codes.fill(0);
        for (code, value) in codes.iter_mut().zip(values) {
            *code = round(value * inverse) as i8;
            sum += i32::from(*code);
        }
        out.scales[group] = scale;
        out.sums[group] = sum as f32 * scale;
    }
}

pub(crate) fn sum_squares(x: &[f32]) -> f32 {
    x.iter().map(|value| value * value).sum()
}

pub(crate) fn scale_gain(x: &[f32], scale: f32, gain: &[f32], out: &mut [f32]) {
    assert!(x.len() == gain.len() && x.len() == out.len(), "equal lengths");
    for ((out, value), gain) in out.iter_mut().zip(x).zip(gain) {
        *out = value * scale * gain;
    }
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "equal lengths");
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn dot_f16(a: &[f32], b: &[f16]) -> f32 {
    assert_eq!(a.len(), b.len(), "equal lengths");
    a.iter().zip(b).map(|(a, b)| a * b.to_f32()).sum()
}

pub(crate) fn add_scaled(out: &mut [f32], weight: f32, x: &[f32]) {
    assert_eq!(out.len(), x.len(), "equal lengths");
    for (out, value) in out.iter_mut().zip(x) {
        *out += weight * value;
    }
}

pub(crate) fn add_scaled_f16(out: &mut [f32], weight: f32, x: &[f16]) {
    assert_eq!(out.len(), x.len(), "equal lengths");
    for (out, value) in out.iter_mut().zip(x) {
        *out += weight * value.to_f32();
    }
}

pub(crate) fn score_f16(queries: &[&[f32]], keys: &[f16], scores: &mut [Scores]) {
    score_each(queries, keys, scores, dot_f16);
}

pub(crate) fn gather_f16(weights: &[Scores], values: &[f16], width: usize, out: &mut [f32]) {
    gather_each(weights, values, width, out, add_scaled_f16);
}

pub(crate) fn exp_sum(x: &mut [f32], maximum: f32) -> f32 {
    let mut sum = 0.0;
    for value in x {
        *value = exp(*value - maximum);
        sum += *value;
    }
    sum
}

pub(crate) fn maximum(x: &[f32]) -> f32 {
    x.iter().fold(f32::NEG_INFINITY, |maximum, &value| maximum.max(value))
}

pub(crate) fn silu_multiply(gated: &mut [f32], up: &[f32]) {
    assert_eq!(gated.len(), up.len(), "equal lengths");
    for (gated, up) in gated.iter_mut().zip(up) {
        *gated = *gated * sigmoid(*gated) * up;
    }
}

pub(crate) fn clamped_swiglu(gated: &mut [f32], up: &[f32], alpha: f32, limit: f32) {
    assert_eq!(gated.len(), up.len(), "equal lengths");
    for (gated, up) in gated.iter_mut().zip(up) {
        let (g, u) = (gated.min(limit), up.clamp(-limit, limit));
        *gated = g * sigmoid(alpha * g) * (u + 1.0);
    }
}
