//! Panels of 3-bit codes: a plane of two bits, and a plane of one bit whose fields stand in the
//! order of the first's.

use core::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_or_si256, _mm256_set1_epi8, _mm256_slli_epi16,
    _mm256_srli_epi16,
};

use hardtack_format::encoding::{TILE_BIT_BYTES, TILE_HEAD_BYTES};
use hardtack_kernels::{Activations, PanelRows};

use super::codes::{panel_fields, tile_bytes};
use super::memory::load_tile;

const FIELDS: usize = 4;
/// Vectors whose products fit in sums of 16 bits: each of their fields adds two columns.
const RUN: usize = 4;
const _: () = assert!(RUN * FIELDS * 2 * 7 * 127 <= i16::MAX as usize);

pub(super) fn panel_q3(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    // SAFETY: only the table names this function, and the table is given out only where the
    // processor has the features.
    unsafe { vectors(panel, activations, first_token, out) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn vectors(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields::<{ tile_bytes(3) }, FIELDS, RUN>(
        panel,
        activations,
        first_token,
        out,
        |tile, vector, half| unpack(tile, vector, half),
    );
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn unpack(tile: &[u8; tile_bytes(3)], vector: usize, half: usize) -> [__m256i; FIELDS] {
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
    // Whole codes in halves of bytes: of the fields 0 and 2, and of 1 and 3.
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
