//! Panels of 2-bit codes: a byte holds a column of the quads `v`, `v + 4`, `v + 8` and `v + 12`, from its lowest bits up.
//!
//! The fields 1 and 3 are multiplied where they stand, four times too large, and summed apart: a shift of each sum
//! replaces one of each vector.

use core::arch::x86_64::{
    _mm256_add_epi16, _mm256_and_si256, _mm256_madd_epi16, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_setzero_si256,
    _mm256_srai_epi16, _mm256_srli_epi16,
};

use hardtack_format::encoding::TILE_HEAD_BYTES;
use hardtack_kernels::{Activations, PanelRows};

use super::codes::{Inputs, RowSums, add_products, no_sums, panel_sums, tile_bytes};
use super::memory::{broadcast_quad, load_tile};

/// Vectors of a tile's half.
const VECTORS: usize = 4;
const _: () = assert!(VECTORS * 2 * 2 * (4 * 3) * 127 <= i16::MAX as usize, "two fields, two columns each");

pub(super) fn panel_q2(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
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
fn sums<const TOKENS: usize>(tile: &[u8; tile_bytes(2)], inputs: Inputs<'_, TOKENS>) -> RowSums<TOKENS> {
    let (low, next) = (_mm256_set1_epi8(0x03), _mm256_set1_epi8(0x0c));
    let mut wide = no_sums();
    for half in 0..2 {
        let mut even = [_mm256_setzero_si256(); TOKENS];
        let mut odd = [_mm256_setzero_si256(); TOKENS];
        for vector in 0..VECTORS {
            let bytes = load_tile(tile, TILE_HEAD_BYTES + vector * 64 + half * 32);
            let upper = _mm256_srli_epi16::<4>(bytes);
            let fields = [
                _mm256_and_si256(bytes, low),
                _mm256_and_si256(bytes, next),
                _mm256_and_si256(upper, low),
                _mm256_and_si256(upper, next),
            ];
            for token in 0..TOKENS {
                let quad = |field: usize| broadcast_quad(inputs[token], vector + field * VECTORS);
                even[token] = add_products(even[token], fields[0], quad(0));
                odd[token] = add_products(odd[token], fields[1], quad(1));
                even[token] = add_products(even[token], fields[2], quad(2));
                odd[token] = add_products(odd[token], fields[3], quad(3));
            }
        }
        for token in 0..TOKENS {
            let sum = _mm256_add_epi16(even[token], _mm256_srai_epi16::<2>(odd[token]));
            wide[token][half] = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
        }
    }
    wide
}
