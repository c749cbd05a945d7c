//! Loads and stores, each of an array whose type is its length: the only memory access by pointers
//! in this tier.

use core::arch::x86_64::{
    __m128, __m128i, __m256, __m256i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm_storeu_ps,
    _mm_storeu_si128, _mm256_cvtph_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_set1_epi32,
    _mm256_storeu_ps, _mm256_storeu_si256,
};

use half::f16;
use hardtack_format::encoding::GROUP_COLUMNS;

/// How far ahead of what is read now memory is prefetched: more than the processor does by itself,
/// which stops at every page. From 2 to 6 KiB are as good.
const AHEAD: usize = 3072;
const LINE: usize = 64;

/// Prefetches as many bytes as these have, [`AHEAD`] of them.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn prefetch_ahead<T>(elements: &[T]) {
    prefetch_from(elements, AHEAD);
}

/// Prefetches all of these.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn prefetch<T>(elements: &[T]) {
    prefetch_from(elements, 0);
}

/// Prefetches as many bytes as these have, from `bytes` after their beginning.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn prefetch_from<T>(elements: &[T], bytes: usize) {
    for line in (0..size_of_val(elements)).step_by(LINE) {
        // Nothing is read: an address past the end of all memory does no harm.
        _mm_prefetch::<_MM_HINT_T0>(elements.as_ptr().cast::<i8>().wrapping_add(bytes + line));
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn load_floats(floats: &[f32; 8]) -> __m256 {
    // SAFETY: the array is the 32 bytes that are read, at any address.
    unsafe { _mm256_loadu_ps(floats.as_ptr()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn store_floats(floats: &mut [f32; 8], value: __m256) {
    // SAFETY: the array is the 32 bytes that are written, at any address.
    unsafe { _mm256_storeu_ps(floats.as_mut_ptr(), value) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn store_four_floats(floats: &mut [f32; 4], value: __m128) {
    // SAFETY: the array is the 16 bytes that are written, at any address.
    unsafe { _mm_storeu_ps(floats.as_mut_ptr(), value) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn load_32_bytes(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the array is the 32 bytes that are read, at any address.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn load_16_bytes(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the array is the 16 bytes that are read, at any address.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// Eight f16, widened.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn load_f16(halves: &[f16; 8]) -> __m256 {
    // SAFETY: the array is the 16 bytes that are read, at any address.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(halves.as_ptr().cast()) })
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn store_codes(codes: &mut [i8; 16], value: __m128i) {
    // SAFETY: the array is the 16 bytes that are written, at any address.
    unsafe { _mm_storeu_si128(codes.as_mut_ptr().cast(), value) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn store_words(words: &mut [i16; 16], value: __m256i) {
    // SAFETY: the array is the 32 bytes that are written, at any address.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), value) }
}

/// The 32 bytes from `at` of a tile. `at` is mostly a constant to the optimizer, so the check of
/// the bound vanishes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn load_tile<const BYTES: usize>(tile: &[u8; BYTES], at: usize) -> __m256i {
    load_32_bytes(tile[at..].first_chunk().expect("within the tile"))
}

/// Four int8 activations of one group, in all eight lanes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn broadcast_quad(inputs: &[i8; GROUP_COLUMNS], quad: usize) -> __m256i {
    let at = quad * 4;
    let bytes = [inputs[at], inputs[at + 1], inputs[at + 2], inputs[at + 3]];
    _mm256_set1_epi32(i32::from_le_bytes(bytes.map(i8::cast_unsigned)))
}
