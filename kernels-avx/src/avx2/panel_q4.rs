//! Panels of 4-bit codes: a byte holds a column of quad `v` in its low half and of quad `v + 8` in
//! its high one.

use core::arch::x86_64::{__m256i, _mm256_and_si256, _mm256_set1_epi8, _mm256_srli_epi16};

use hardtack_format::encoding::TILE_HEAD_BYTES;
use hardtack_kernels::{Activations, PanelRows};

use super::codes::{panel_fields, tile_bytes};
use super::memory::load_tile;

const FIELDS: usize = 2;
/// Vectors whose products fit in sums of 16 bits: each of their fields adds two columns.
const RUN: usize = 4;
const _: () = assert!(RUN * FIELDS * 2 * 15 * 127 <= i16::MAX as usize);

pub(super) fn panel_q4(
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
    panel_fields::<{ tile_bytes(4) }, FIELDS, RUN>(
        panel,
        activations,
        first_token,
        out,
        |tile, vector, half| unpack(tile, vector, half),
    );
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn unpack(tile: &[u8; tile_bytes(4)], vector: usize, half: usize) -> [__m256i; FIELDS] {
    let low = _mm256_set1_epi8(0x0f);
    let bytes = load_tile(tile, TILE_HEAD_BYTES + vector * 64 + half * 32);
    [_mm256_and_si256(bytes, low), _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low)]
}
