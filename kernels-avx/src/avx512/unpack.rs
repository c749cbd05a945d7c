//! Codes out of a tile's bit planes, one byte each: 64 at a time, four columns of 16 rows. They lie
//! there as `avx2/unpack.rs` says.

use core::arch::x86_64::{
    __m512i, _mm_cvtsi32_si128, _mm512_and_si512, _mm512_loadu_si512, _mm512_or_si512,
    _mm512_set1_epi8, _mm512_sll_epi16, _mm512_slli_epi16, _mm512_srl_epi16, _mm512_srli_epi16,
};

use hardtack_format::encoding::{TILE_BIT_BYTES, TILE_HEAD_BYTES};

use crate::avx2::codes::tile_bytes;

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
pub(super) fn q1(tile: &[u8; tile_bytes(1)], vector: usize) -> [__m512i; 8] {
    fields(load(tile, TILE_HEAD_BYTES + vector * 64))
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
pub(super) fn q2(tile: &[u8; tile_bytes(2)], vector: usize) -> [__m512i; 4] {
    fields(load(tile, TILE_HEAD_BYTES + vector * 64))
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
pub(super) fn q3(tile: &[u8; tile_bytes(3)], vector: usize) -> [__m512i; 4] {
    let bytes = load(tile, TILE_HEAD_BYTES + vector * 64);
    let high = load(tile, TILE_HEAD_BYTES + 2 * TILE_BIT_BYTES + vector % 2 * 64);
    let high = if vector < 2 { high } else { _mm512_srli_epi16::<1>(high) };
    let both = |bits: __m512i, high: __m512i| {
        _mm512_or_si512(
            _mm512_and_si512(bits, _mm512_set1_epi8(0x33)),
            _mm512_and_si512(high, _mm512_set1_epi8(0x44)),
        )
    };
    // Whole codes in nibbles: of the fields 0 and 2, and of 1 and 3.
    let even = both(bytes, _mm512_slli_epi16::<2>(high));
    let odd = both(_mm512_srli_epi16::<2>(bytes), high);
    let low = _mm512_set1_epi8(0x07);
    [
        _mm512_and_si512(even, low),
        _mm512_and_si512(odd, low),
        _mm512_and_si512(_mm512_srli_epi16::<4>(even), low),
        _mm512_and_si512(_mm512_srli_epi16::<4>(odd), low),
    ]
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
pub(super) fn q4(tile: &[u8; tile_bytes(4)], vector: usize) -> [__m512i; 2] {
    fields(load(tile, TILE_HEAD_BYTES + vector * 64))
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
pub(super) fn q5(tile: &[u8; tile_bytes(5)], vector: usize) -> [__m512i; 2] {
    let high = load(tile, TILE_HEAD_BYTES + 4 * TILE_BIT_BYTES + vector % 2 * 64);
    with_high_bits(load(tile, TILE_HEAD_BYTES + vector * 64), high, vector / 2, 0x10)
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
pub(super) fn q6(tile: &[u8; tile_bytes(6)], vector: usize) -> [__m512i; 2] {
    let high = load(tile, TILE_HEAD_BYTES + 4 * TILE_BIT_BYTES + vector % 4 * 64);
    with_high_bits(load(tile, TILE_HEAD_BYTES + vector * 64), high, vector / 4 * 2, 0x30)
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
pub(super) fn q8(tile: &[u8; tile_bytes(8)], vector: usize) -> [__m512i; 1] {
    [load(tile, TILE_HEAD_BYTES + vector * 64)]
}

/// The fields of bytes, from the lowest bits up.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
fn fields<const FIELDS: usize>(bytes: __m512i) -> [__m512i; FIELDS] {
    let bits = 8 / FIELDS;
    let low = _mm512_set1_epi8((1 << bits) - 1);
    let mut fields = [low; FIELDS];
    for field in 0..FIELDS {
        // Bits that cross into the next byte are masked away.
        let count = _mm_cvtsi32_si128((field * bits) as i32);
        fields[field] = _mm512_and_si512(_mm512_srl_epi16(bytes, count), low);
    }
    fields
}

/// Codes whose four low bits are nibbles. The high bits of the first nibble's quad are at bit
/// `place`, those of the second's four bits further up; both move to bit 4.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
fn with_high_bits(bytes: __m512i, high: __m512i, place: usize, mask: i8) -> [__m512i; 2] {
    let (down, up) = (_mm_cvtsi32_si128(place as i32), _mm_cvtsi32_si128(4 - place as i32));
    let (low, mask) = (_mm512_set1_epi8(0x0f), _mm512_set1_epi8(mask));
    [
        _mm512_or_si512(
            _mm512_and_si512(bytes, low),
            _mm512_and_si512(_mm512_sll_epi16(high, up), mask),
        ),
        _mm512_or_si512(
            _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low),
            _mm512_and_si512(_mm512_srl_epi16(high, down), mask),
        ),
    ]
}

/// The 64 bytes from `at` of a tile. `at` is mostly a constant to the optimizer, so the check of
/// the bound vanishes.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
fn load<const BYTES: usize>(tile: &[u8; BYTES], at: usize) -> __m512i {
    let bytes: &[u8; 64] = tile[at..].first_chunk().expect("within the tile");
    // SAFETY: the array is the 64 bytes that are read, at any address.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}
