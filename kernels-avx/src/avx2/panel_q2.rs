//! Panels of 2-bit codes: a byte holds a column of the quads `v`, `v + 4`, `v + 8` and `v + 12`,
//! from its lowest bits up.

use core::arch::x86_64::{__m256i, _mm256_and_si256, _mm256_set1_epi8, _mm256_srli_epi16};

use hardtack_format::encoding::TILE_HEAD_BYTES;
use hardtack_kernels::{Activations, PanelRows};

use super::codes::{panel_fields, tile_bytes};
use super::memory::load_tile;

const FIELDS: usize = 4;
/// Vectors whose products fit in sums of 16 bits: each of their fields adds two columns.
const RUN: usize = 4;
const _: () = assert!(RUN * FIELDS * 2 * 3 * 127 <= i16::MAX as usize);

pub(super) fn panel_q2(
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
    panel_fields::<{ tile_bytes(2) }, FIELDS, RUN>(
        panel,
        activations,
        first_token,
        out,
        |tile, vector, half| unpack(tile, vector, half),
    );
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn unpack(tile: &[u8; tile_bytes(2)], vector: usize, half: usize) -> [__m256i; FIELDS] {
    let low = _mm256_set1_epi8(0x03);
    let bytes = load_tile(tile, TILE_HEAD_BYTES + vector * 64 + half * 32);
    [
        _mm256_and_si256(bytes, low),
        _mm256_and_si256(_mm256_srli_epi16::<2>(bytes), low),
        _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low),
        _mm256_and_si256(_mm256_srli_epi16::<6>(bytes), low),
    ]
}
