//! Operations on vectors, without `exp`.

use half::f16;
use half::slice::HalfFloatSliceExt;
use wide::f32x8;

use super::memory::widen_f16;
use crate::attention::{Scores, gather_each, score_each};
use crate::scalar;

/// Vectors at once: as many chains of additions hide their latency.
const CHAINS: usize = 4;

pub(super) fn sum_squares(x: &[f32]) -> f32 {
    dot(x, x)
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "equal lengths");
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks(), b.as_chunks());
    dot_vectors(a, b, |b| f32x8::new(*b)) + (scalar::TABLE.dot)(a_tail, b_tail)
}

pub(super) fn dot_f16(a: &[f32], b: &[f16]) -> f32 {
    assert_eq!(a.len(), b.len(), "equal lengths");
    let ((a, a_tail), (vectors, _)) = (a.as_chunks(), b.reinterpret_cast().as_chunks());
    let b_tail = &b[b.len() - a_tail.len()..];
    dot_vectors(a, vectors, |b| widen_f16(*b)) + (scalar::TABLE.dot_f16)(a_tail, b_tail)
}

#[inline]
fn dot_vectors<T>(a: &[[f32; 8]], b: &[[T; 8]], widen: impl Fn(&[T; 8]) -> f32x8) -> f32 {
    let mut sums = [f32x8::ZERO; CHAINS];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<CHAINS>(), b.as_chunks::<CHAINS>());
    for (a, b) in a.iter().zip(b) {
        for chain in 0..CHAINS {
            sums[chain] = f32x8::new(a[chain]).mul_add(widen(&b[chain]), sums[chain]);
        }
    }
    for (chain, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[chain] = f32x8::new(*a).mul_add(widen(b), sums[chain]);
    }
    let [a, b, c, d] = sums;
    ((a + b) + (c + d)).reduce_add()
}

pub(super) fn scale_gain(x: &[f32], scale: f32, gain: &[f32], out: &mut [f32]) {
    assert!(x.len() == gain.len() && x.len() == out.len(), "equal lengths");
    let ((x, x_tail), (gain, gain_tail)) = (x.as_chunks(), gain.as_chunks());
    let (out, out_tail) = out.as_chunks_mut();
    for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
        *out = (f32x8::new(*x) * f32x8::splat(scale) * f32x8::new(*gain)).to_array();
    }
    (scalar::TABLE.scale_gain)(x_tail, scale, gain_tail, out_tail);
}

pub(super) fn add_scaled(out: &mut [f32], weight: f32, x: &[f32]) {
    assert_eq!(out.len(), x.len(), "equal lengths");
    let ((out, out_tail), (x, x_tail)) = (out.as_chunks_mut(), x.as_chunks());
    for (out, x) in out.iter_mut().zip(x) {
        *out = f32x8::new(*x).mul_add(f32x8::splat(weight), f32x8::new(*out)).to_array();
    }
    (scalar::TABLE.add_scaled)(out_tail, weight, x_tail);
}

pub(super) fn add_scaled_f16(out: &mut [f32], weight: f32, x: &[f16]) {
    assert_eq!(out.len(), x.len(), "equal lengths");
    let ((out, out_tail), (vectors, _)) = (out.as_chunks_mut(), x.reinterpret_cast().as_chunks());
    let x_tail = &x[x.len() - out_tail.len()..];
    for (out, x) in out.iter_mut().zip(vectors) {
        *out = widen_f16(*x).mul_add(f32x8::splat(weight), f32x8::new(*out)).to_array();
    }
    (scalar::TABLE.add_scaled_f16)(out_tail, weight, x_tail);
}

pub(super) fn score_f16(queries: &[&[f32]], keys: &[f16], scores: &mut [Scores]) {
    score_each(queries, keys, scores, dot_f16);
}

pub(super) fn gather_f16(weights: &[Scores], values: &[f16], width: usize, out: &mut [f32]) {
    gather_each(weights, values, width, out, add_scaled_f16);
}

pub(super) fn maximum(x: &[f32]) -> f32 {
    let (vectors, tail) = x.as_chunks();
    let mut maxima = f32x8::splat(f32::NEG_INFINITY);
    for vector in vectors {
        maxima = maxima.fast_max(f32x8::new(*vector));
    }
    (scalar::TABLE.maximum)(tail).max((scalar::TABLE.maximum)(&maxima.to_array()))
}
