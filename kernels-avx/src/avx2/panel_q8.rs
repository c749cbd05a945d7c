//! Panels of 8-bit codes, as two panels of 4-bit codes: whole bytes times int8 would overflow `maddubs`.

use core::arch::x86_64::{_mm256_add_epi32, _mm256_and_si256, _mm256_set1_epi8, _mm256_slli_epi32, _mm256_srli_epi16};

use hardtack_format::encoding::{GROUP_QUADS, TILE_HEAD_BYTES};
use hardtack_kernels::{Activations, PanelRows};

use super::codes::{Inputs, RowSums, add_products, add_wide, no_sums, panel_sums, tile_bytes};
use super::memory::{broadcast_quad, load_tile};

/// Quads whose products fit in sums of 16 bits: each adds two columns.
const RUN: usize = 8;
const _: () = assert!(RUN * 2 * 15 * 127 <= i16::MAX as usize);

pub(super) fn panel_q8(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    // SAFETY: only the table names this function, and the table is given out only where the processor has the features.
    unsafe { vectors(panel, activations, first_token, out) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn vectors(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
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
fn sums<const TOKENS: usize>(tile: &[u8; tile_bytes(8)], inputs: Inputs<'_, TOKENS>) -> RowSums<TOKENS> {
    let mask = _mm256_set1_epi8(0x0f);
    let (mut wide_low, mut wide_high) = (no_sums(), no_sums());
    for run in 0..GROUP_QUADS / RUN {
        let (mut low, mut high) = (no_sums::<TOKENS>(), no_sums::<TOKENS>());
        for quad in run * RUN..(run + 1) * RUN {
            for half in 0..2 {
                let bytes = load_tile(tile, TILE_HEAD_BYTES + quad * 64 + half * 32);
                let low_codes = _mm256_and_si256(bytes, mask);
                let high_codes = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask);
                for token in 0..TOKENS {
                    let inputs = broadcast_quad(inputs[token], quad);
                    low[token][half] = add_products(low[token][half], low_codes, inputs);
                    high[token][half] = add_products(high[token][half], high_codes, inputs);
                }
            }
        }
        add_wide(&mut wide_low, low);
        add_wide(&mut wide_high, high);
    }
    for token in 0..TOKENS {
        for half in 0..2 {
            let high = _mm256_slli_epi32::<4>(wide_high[token][half]);
            wide_low[token][half] = _mm256_add_epi32(wide_low[token][half], high);
        }
    }
    wide_low
}
