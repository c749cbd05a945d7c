//! Codes out of a tile's bit planes, one byte each: 32 at a time, four columns of eight rows.
//!
//! A vector is 32 bytes of the widest plane, `vector * 64 + half * 32` bytes from its start, of
//! rows `8 * half ..`. Its fields are its bytes' bits from the lowest up: field `i` holds quad
//! `vector + i * 16 / fields` of each row. Higher bits of the same codes lie in narrower planes,
//! in the same order.

use core::arch::x86_64::{
    __m256i, _mm_cvtsi32_si128, _mm256_and_si256, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_sll_epi16, _mm256_slli_epi16, _mm256_srl_epi16, _mm256_srli_epi16,
};

use hardtack_format::encoding::{TILE_BIT_BYTES, TILE_HEAD_BYTES};

use super::codes::tile_bytes;
use super::memory::load_tile;

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn q1(tile: &[u8; tile_bytes(1)], vector: usize, half: usize) -> [__m256i; 8] {
    fields(load_tile(tile, TILE_HEAD_BYTES + vector * 64 + half * 32))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn q2(tile: &[u8; tile_bytes(2)], vector: usize, half: usize) -> [__m256i; 4] {
    fields(load_tile(tile, TILE_HEAD_BYTES + vector * 64 + half * 32))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn q3(tile: &[u8; tile_bytes(3)], vector: usize, half: usize) -> [__m256i; 4] {
    // The high bits of quads v + 4 i are the bits 2 i of high vector v % 2, one bit further up for
    // v of 2 and 3.
    let bytes = load_tile(tile, TILE_HEAD_BYTES + vector * 64 + half * 32);
    let high = load_tile(tile, TILE_HEAD_BYTES + 2 * TILE_BIT_BYTES + vector % 2 * 64 + half * 32);
    let high = if vector < 2 { high } else { _mm256_srli_epi16::<1>(high) };
    let both = |bits: __m256i, high: __m256i| {
        _mm256_or_si256(
            _mm256_and_si256(bits, _mm256_set1_epi8(0x33)),
            _mm256_and_si256(high, _mm256_set1_epi8(0x44)),
        )
    };
    // Whole codes in nibbles: of the fields 0 and 2, and of 1 and 3.
    let even = both(bytes, _mm256_slli_epi16::<2>(high));
    let odd = both(_mm256_srli_epi16::<2>(bytes), high);
    let low = _mm256_set1_epi8(0x07);
    [
        _mm256_and_si256(even, low),
        _mm256_and_si256(odd, low),
        _mm256_and_si256(_mm256_srli_epi16::<4>(even), low),
        _mm256_and_si256(_mm256_srli_epi16::<4>(odd), low),
    ]
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn q4(tile: &[u8; tile_bytes(4)], vector: usize, half: usize) -> [__m256i; 2] {
    fields(load_tile(tile, TILE_HEAD_BYTES + vector * 64 + half * 32))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn q5(tile: &[u8; tile_bytes(5)], vector: usize, half: usize) -> [__m256i; 2] {
    let bytes = load_tile(tile, TILE_HEAD_BYTES + vector * 64 + half * 32);
    let high = load_tile(tile, TILE_HEAD_BYTES + 4 * TILE_BIT_BYTES + vector % 2 * 64 + half * 32);
    with_high_bits(bytes, high, vector / 2, 0x10)
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn q6(tile: &[u8; tile_bytes(6)], vector: usize, half: usize) -> [__m256i; 2] {
    let bytes = load_tile(tile, TILE_HEAD_BYTES + vector * 64 + half * 32);
    let high = load_tile(tile, TILE_HEAD_BYTES + 4 * TILE_BIT_BYTES + vector % 4 * 64 + half * 32);
    with_high_bits(bytes, high, vector / 4 * 2, 0x30)
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn q8(tile: &[u8; tile_bytes(8)], vector: usize, half: usize) -> [__m256i; 1] {
    [load_tile(tile, TILE_HEAD_BYTES + vector * 64 + half * 32)]
}

/// The fields of bytes, from the lowest bits up.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn fields<const FIELDS: usize>(bytes: __m256i) -> [__m256i; FIELDS] {
    let bits = 8 / FIELDS;
    let low = _mm256_set1_epi8((1 << bits) - 1);
    let mut fields = [low; FIELDS];
    for field in 0..FIELDS {
        // Bits that cross into the next byte are masked away.
        let count = _mm_cvtsi32_si128((field * bits) as i32);
        fields[field] = _mm256_and_si256(_mm256_srl_epi16(bytes, count), low);
    }
    fields
}

/// Codes whose four low bits are nibbles. The high bits of the first nibble's quad are at bit
/// `place`, those of the second's four bits further up; both move to bit 4.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn with_high_bits(bytes: __m256i, high: __m256i, place: usize, mask: i8) -> [__m256i; 2] {
    let (down, up) = (_mm_cvtsi32_si128(place as i32), _mm_cvtsi32_si128(4 - place as i32));
    let (low, mask) = (_mm256_set1_epi8(0x0f), _mm256_set1_epi8(mask));
    [
        _mm256_or_si256(
            _mm256_and_si256(bytes, low),
            _mm256_and_si256(_mm256_sll_epi16(high, up), mask),
        ),
        _mm256_or_si256(
            _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low),
            _mm256_and_si256(_mm256_srl_epi16(high, down), mask),
        ),
    ]
}
