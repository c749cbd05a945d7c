//! Panels of 8-bit codes, as two panels of 4-bit codes: whole bytes times int8 would overflow
//! `maddubs`.

use core::arch::x86_64::{
    _mm256_add_epi32, _mm256_and_si256, _mm256_set1_epi8, _mm256_setzero_si256, _mm256_slli_epi32,
    _mm256_srli_epi16,
};

use hardtack_format::encoding::{GROUP_QUADS, TILE_HEAD_BYTES};
use hardtack_kernels::{Activations, PanelRows};

use super::codes::{Inputs, RowSums, add_products, add_wide, no_sums, panel_sums, tile_bytes};
use super::memory::{broadcast_quad, load_tile};

/// Quads whose products fit in sums of 16 bits: each adds two columns.
const RUN: usize = 8;
const _: () = assert!(RUN * 2 * 15 * 127 <= i16::MAX as usize);

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn q8(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    panel_sums(
        panel,
        activations,
        first_token,
        out,
        |tile, inputs| sums(tile, inputs),
        |tile, inputs| sums(tile, inputs),
        |tile, inputs| sums(tile, inputs),
    );
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn sums<const TOKENS: usize>(
    tile: &[u8; tile_bytes(8)],
    inputs: Inputs<'_, TOKENS>,
) -> RowSums<TOKENS> {
    let mask = _mm256_set1_epi8(0x0f);
    let mut wide = no_sums();
    for half in 0..2 {
        for run in 0..GROUP_QUADS / RUN {
            let mut low = [_mm256_setzero_si256(); TOKENS];
            let mut high = [_mm256_setzero_si256(); TOKENS];
            for quad in run * RUN..(run + 1) * RUN {
                let bytes = load_tile(tile, TILE_HEAD_BYTES + quad * 64 + half * 32);
                let low_codes = _mm256_and_si256(bytes, mask);
                let high_codes = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask);
                for token in 0..TOKENS {
                    let inputs = broadcast_quad(inputs[token], quad);
                    low[token] = add_products(low[token], low_codes, inputs);
                    high[token] = add_products(high[token], high_codes, inputs);
                }
            }
            for token in 0..TOKENS {
                let high = _mm256_slli_epi32::<4>(add_wide(_mm256_setzero_si256(), high[token]));
                wide[token][half] = add_wide(_mm256_add_epi32(wide[token][half], high), low[token]);
            }
        }
    }
    wide
}
