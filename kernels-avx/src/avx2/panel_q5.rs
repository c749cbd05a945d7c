//! Panels of 5-bit codes: 4-bit codes and a plane of fifth bits.

use core::arch::x86_64::{
    __m256i, _mm_cvtsi32_si128, _mm256_and_si256, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_sll_epi16, _mm256_srl_epi16, _mm256_srli_epi16,
};

use hardtack_format::encoding::{TILE_BIT_BYTES, TILE_HEAD_BYTES};
use hardtack_kernels::{Activations, PanelRows};

use super::codes::{panel_fields, tile_bytes};
use super::memory::load_tile;

const FIELDS: usize = 2;
/// Vectors whose products fit in sums of 16 bits: each of their fields adds two columns.
const RUN: usize = 2;
const _: () = assert!(RUN * FIELDS * 2 * 31 * 127 <= i16::MAX as usize);

pub(super) fn panel_q5(
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
    panel_fields::<{ tile_bytes(5) }, FIELDS, RUN>(
        panel,
        activations,
        first_token,
        out,
        |tile, vector, half| unpack(tile, vector, half),
    );
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn unpack(tile: &[u8; tile_bytes(5)], vector: usize, half: usize) -> [__m256i; FIELDS] {
    let bytes = load_tile(tile, TILE_HEAD_BYTES + vector * 64 + half * 32);
    let high = load_tile(tile, TILE_HEAD_BYTES + 4 * TILE_BIT_BYTES + vector % 2 * 64 + half * 32);
    // The high bits of quad v are at bit `place`, those of quad v + 8 four bits further up; both
    // move to bit 4.
    let place = vector / 2;
    let down = _mm_cvtsi32_si128(place as i32);
    let up = _mm_cvtsi32_si128(4 - place as i32);
    let (low, bit_4) = (_mm256_set1_epi8(0x0f), _mm256_set1_epi8(0x10));
    [
        _mm256_or_si256(
            _mm256_and_si256(bytes, low),
            _mm256_and_si256(_mm256_sll_epi16(high, up), bit_4),
        ),
        _mm256_or_si256(
            _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low),
            _mm256_and_si256(_mm256_srl_epi16(high, down), bit_4),
        ),
    ]
}
