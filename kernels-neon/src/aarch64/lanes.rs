//! Between memory and registers: the crate's only loads and stores, on arrays of just a register's
//! size.

use std::arch::aarch64::*;
use std::arch::asm;

use half::f16;

/// Bytes of a line of the caches, on every aarch64 core but few, which have longer ones.
const LINE: usize = 64;

/// Prefetches all of these.
#[inline]
pub(super) fn prefetch<T>(elements: &[T]) {
    for line in (0..size_of_val(elements)).step_by(LINE) {
        let at = elements.as_ptr().cast::<u8>().wrapping_add(line);
        // SAFETY: a hint, which reads nothing and changes no register.
        unsafe {
            asm!(
                "prfm pldl1keep, [{at}]",
                at = in(reg) at,
                options(readonly, nostack, preserves_flags),
            )
        }
    }
}

/// 16 bytes.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_bytes(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the array is 16 bytes that may be read, and the load needs no alignment.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

/// 16 signed bytes.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_codes(codes: &[i8; 16]) -> int8x16_t {
    // SAFETY: the array is 16 bytes that may be read, and the load needs no alignment.
    unsafe { vld1q_s8(codes.as_ptr()) }
}

/// 16 signed bytes.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store_codes(out: &mut [i8; 16], codes: int8x16_t) {
    // SAFETY: the array is 16 bytes that may be written, and the store needs no alignment.
    unsafe { vst1q_s8(out.as_mut_ptr(), codes) }
}

/// Eight words.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_words(words: &[i16; 8]) -> int16x8_t {
    // SAFETY: the array is the 16 bytes that are read, at any address.
    unsafe { vld1q_s16(words.as_ptr()) }
}

/// Eight signed words.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store_words(out: &mut [i16; 8], words: int16x8_t) {
    // SAFETY: the array is 16 bytes that may be written, and the store needs no alignment.
    unsafe { vst1q_s16(out.as_mut_ptr(), words) }
}

/// Four floats.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load(values: &[f32; 4]) -> float32x4_t {
    // SAFETY: the array is four floats that may be read.
    unsafe { vld1q_f32(values.as_ptr()) }
}

/// Four floats.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store(out: &mut [f32; 4], values: float32x4_t) {
    // SAFETY: the array is four floats that may be written.
    unsafe { vst1q_f32(out.as_mut_ptr(), values) }
}

/// Four f16, widened, which is exact.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_f16(values: &[f16; 4]) -> float32x4_t {
    // SAFETY: the array is four f16 that may be read, each a transparent `u16`.
    let bits = unsafe { vld1_u16(values.as_ptr().cast()) };
    vcvt_f32_f16(vreinterpret_f16_u16(bits))
}

/// Four little-endian f16, widened, which is exact.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_f16_bytes(bytes: &[u8; 8]) -> float32x4_t {
    // SAFETY: the array is 8 bytes that may be read, and the load needs no alignment.
    let bits = unsafe { vld1_u8(bytes.as_ptr()) };
    vcvt_f32_f16(vreinterpret_f16_u8(bits))
}
