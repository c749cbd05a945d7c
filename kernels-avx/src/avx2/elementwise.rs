//! Operations with one result for each element, without `exp`.

use core::arch::x86_64::{_mm256_fmadd_ps, _mm256_mul_ps, _mm256_set1_ps};

use half::f16;
use hardtack_kernels::scalar;

use super::memory::{load_f16, load_floats, store_floats};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn scale_gain(x: &[f32], scale: f32, gain: &[f32], out: &mut [f32]) {
    assert!(x.len() == gain.len() && x.len() == out.len(), "equal lengths");
    let ((x, x_tail), (gain, gain_tail)) = (x.as_chunks(), gain.as_chunks());
    let (out, out_tail) = out.as_chunks_mut();
    let all = _mm256_set1_ps(scale);
    for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
        store_floats(out, _mm256_mul_ps(_mm256_mul_ps(load_floats(x), all), load_floats(gain)));
    }
    (scalar::TABLE.scale_gain)(x_tail, scale, gain_tail, out_tail);
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn add_scaled(out: &mut [f32], weight: f32, x: &[f32]) {
    assert_eq!(out.len(), x.len(), "equal lengths");
    let ((out, out_tail), (x, x_tail)) = (out.as_chunks_mut(), x.as_chunks());
    let all = _mm256_set1_ps(weight);
    for (out, x) in out.iter_mut().zip(x) {
        store_floats(out, _mm256_fmadd_ps(all, load_floats(x), load_floats(out)));
    }
    (scalar::TABLE.add_scaled)(out_tail, weight, x_tail);
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn add_scaled_f16(out: &mut [f32], weight: f32, x: &[f16]) {
    assert_eq!(out.len(), x.len(), "equal lengths");
    let ((out, out_tail), (x, x_tail)) = (out.as_chunks_mut(), x.as_chunks());
    let all = _mm256_set1_ps(weight);
    for (out, x) in out.iter_mut().zip(x) {
        store_floats(out, _mm256_fmadd_ps(all, load_f16(x), load_floats(out)));
    }
    (scalar::TABLE.add_scaled_f16)(out_tail, weight, x_tail);
}
