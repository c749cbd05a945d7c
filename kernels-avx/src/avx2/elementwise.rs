//! Operations that give one number for each element, without `exp`.

use core::arch::x86_64::{_mm256_fmadd_ps, _mm256_mul_ps, _mm256_set1_ps};

use half::f16;
use hardtack_kernels::scalar;

use super::memory::{load_f16, load_floats, store_floats};

pub(super) fn scale_gain(x: &[f32], scale: f32, gain: &[f32], out: &mut [f32]) {
    assert!(x.len() == gain.len() && x.len() == out.len(), "equal lengths");
    let ((x, x_tail), (gain, gain_tail)) = (x.as_chunks(), gain.as_chunks());
    let (out, out_tail) = out.as_chunks_mut();
    // SAFETY: only the table names this function, and the table is given out only where the
    // processor has the features.
    unsafe { scale_gain_vectors(x, scale, gain, out) };
    (scalar::TABLE.scale_gain)(x_tail, scale, gain_tail, out_tail);
}

pub(super) fn add_scaled(out: &mut [f32], weight: f32, x: &[f32]) {
    assert_eq!(out.len(), x.len(), "equal lengths");
    let ((out, out_tail), (x, x_tail)) = (out.as_chunks_mut(), x.as_chunks());
    // SAFETY: only the table names this function, and the table is given out only where the
    // processor has the features.
    unsafe { add_scaled_vectors(out, weight, x) };
    (scalar::TABLE.add_scaled)(out_tail, weight, x_tail);
}

pub(super) fn add_scaled_f16(out: &mut [f32], weight: f32, x: &[f16]) {
    assert_eq!(out.len(), x.len(), "equal lengths");
    let ((out, out_tail), (x, x_tail)) = (out.as_chunks_mut(), x.as_chunks());
    // SAFETY: only the table names this function, and the table is given out only where the
    // processor has the features.
    unsafe { add_scaled_f16_vectors(out, weight, x) };
    (scalar::TABLE.add_scaled_f16)(out_tail, weight, x_tail);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn scale_gain_vectors(x: &[[f32; 8]], scale: f32, gain: &[[f32; 8]], out: &mut [[f32; 8]]) {
    let scale = _mm256_set1_ps(scale);
    for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
        store_floats(out, _mm256_mul_ps(_mm256_mul_ps(load_floats(x), scale), load_floats(gain)));
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn add_scaled_vectors(out: &mut [[f32; 8]], weight: f32, x: &[[f32; 8]]) {
    let weight = _mm256_set1_ps(weight);
    for (out, x) in out.iter_mut().zip(x) {
        store_floats(out, _mm256_fmadd_ps(weight, load_floats(x), load_floats(out)));
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn add_scaled_f16_vectors(out: &mut [[f32; 8]], weight: f32, x: &[[f16; 8]]) {
    let weight = _mm256_set1_ps(weight);
    for (out, x) in out.iter_mut().zip(x) {
        store_floats(out, _mm256_fmadd_ps(weight, load_f16(x), load_floats(out)));
    }
}
