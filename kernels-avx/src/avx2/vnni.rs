//! The table of the AVX-VNNI tier: the AVX2 tier's but for its integer panels. One instruction multiplies four codes with
//! their activations and adds them to a row's sum.
//!
//! The instruction takes codes of up to 8 bits and adds in 32: no narrow sums that could overflow. The table is private,
//! and `crate::avxvnni()` gives it out only where the processor has the features.

use core::arch::x86_64::{__m256i, _mm256_add_epi32, _mm256_dpbusd_avx_epi32};

use hardtack_format::encoding::{GROUP_QUADS, TILE_HEAD_BYTES};
use hardtack_kernels::{Activations, KernelTable, PanelRows};

use super::codes::{Inputs, RowSums, no_sums, panel_sums, tile_bytes};
use super::memory::{broadcast_quad, load_tile};
use super::{panel_q1, panel_q2, panel_q3, panel_q4, panel_q5, panel_q6};

// SAFETY: the table is given out only where the processor has the features.
pub(crate) static TABLE: KernelTable = unsafe { table() };

/// Kernels become plain function pointers only in a function with their features.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
const fn table() -> KernelTable {
    let [f32, f16, bf16, ..] = super::TABLE.panels;
    KernelTable { name: "avx2+vnni", panels: [f32, f16, bf16, q1, q2, q3, q4, q5, q6, q8], ..super::TABLE }
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q1(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields(panel, activations, first_token, out, |tile, vector, half| panel_q1::unpack(tile, vector, half));
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q2(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields(panel, activations, first_token, out, |tile, vector, half| panel_q2::unpack(tile, vector, half));
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q3(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields(panel, activations, first_token, out, |tile, vector, half| panel_q3::unpack(tile, vector, half));
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q4(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields(panel, activations, first_token, out, |tile, vector, half| panel_q4::unpack(tile, vector, half));
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q5(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields(panel, activations, first_token, out, |tile, vector, half| panel_q5::unpack(tile, vector, half));
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q6(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields(panel, activations, first_token, out, |tile, vector, half| panel_q6::unpack(tile, vector, half));
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q8(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields::<{ tile_bytes(8) }, 1>(panel, activations, first_token, out, |tile, vector, half| {
        [load_tile(tile, TILE_HEAD_BYTES + vector * 64 + half * 32)]
    });
}

/// Multiplies a panel with the tokens; `unpack` is that of `codes::panel_fields`.
///
/// Four tokens at a time, as in the AVX2 tier: six (and eight, the halves of the rows one after the other) unpack codes less
/// often, but were slower for all but 8-bit codes, and there no faster.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
#[inline]
fn panel_fields<const TILE_BYTES: usize, const FIELDS: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
    unpack: impl Fn(&[u8; TILE_BYTES], usize, usize) -> [__m256i; FIELDS],
) {
    panel_sums(
        panel,
        activations,
        first_token,
        out,
        |tile, inputs| sum_fields::<TILE_BYTES, FIELDS, 4, 1>(tile, inputs, &unpack),
        |tile, inputs| sum_fields::<TILE_BYTES, FIELDS, 2, 2>(tile, inputs, &unpack),
        |tile, inputs| sum_fields::<TILE_BYTES, FIELDS, 1, 2>(tile, inputs, &unpack),
    );
}

/// The code sums of one tile, in so many chains of additions for each row that they hide their latency.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
#[inline]
fn sum_fields<const TILE_BYTES: usize, const FIELDS: usize, const TOKENS: usize, const CHAINS: usize>(
    tile: &[u8; TILE_BYTES],
    inputs: Inputs<'_, TOKENS>,
    unpack: &impl Fn(&[u8; TILE_BYTES], usize, usize) -> [__m256i; FIELDS],
) -> RowSums<TOKENS> {
    const { assert!(FIELDS == 8 || FIELDS == 4 || FIELDS == 2 || FIELDS == 1, "vectors by two, four or eight") };
    let mut chains = [no_sums(); CHAINS];
    let mut add = |vector| add_vector(tile, inputs, unpack, vector, &mut chains);
    // Written out, as the optimizer keeps so long a loop, and `unpack` shifts by a constant only for a constant vector.
    for first in (0..GROUP_QUADS / FIELDS).step_by(8) {
        add(first);
        add(first + 1);
        if FIELDS < 8 {
            add(first + 2);
            add(first + 3);
        }
        if FIELDS < 4 {
            add(first + 4);
            add(first + 5);
            add(first + 6);
            add(first + 7);
        }
    }
    let mut sums = chains[0];
    for chain in &chains[1..] {
        for token in 0..TOKENS {
            for half in 0..2 {
                sums[token][half] = _mm256_add_epi32(sums[token][half], chain[token][half]);
            }
        }
    }
    sums
}

/// Adds the products of one vector's codes, its quads to the chains in turns.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
#[inline]
fn add_vector<const TILE_BYTES: usize, const FIELDS: usize, const TOKENS: usize, const CHAINS: usize>(
    tile: &[u8; TILE_BYTES],
    inputs: Inputs<'_, TOKENS>,
    unpack: &impl Fn(&[u8; TILE_BYTES], usize, usize) -> [__m256i; FIELDS],
    vector: usize,
    chains: &mut [RowSums<TOKENS>; CHAINS],
) {
    let codes = [unpack(tile, vector, 0), unpack(tile, vector, 1)];
    for field in 0..FIELDS {
        let sums = &mut chains[(vector * FIELDS + field) % CHAINS];
        for token in 0..TOKENS {
            let quad = broadcast_quad(inputs[token], vector + field * (GROUP_QUADS / FIELDS));
            for half in 0..2 {
                sums[token][half] = _mm256_dpbusd_avx_epi32(sums[token][half], codes[half][field], quad);
            }
        }
    }
}
