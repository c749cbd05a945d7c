//! The table of the AVX-VNNI tier: the AVX2 tier's but for its integer panels. One instruction
//! multiplies four codes with their activations and adds them to a row's sum.
//!
//! The instruction takes codes of up to 8 bits and adds in 32: no narrow sums that could overflow.
//! The table is private, and `crate::avxvnni()` gives it out only where the processor has the
//! features.

use core::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_dpbusd_avx_epi32, _mm256_dpwssd_avx_epi32, _mm256_setzero_ps,
    _mm256_setzero_si256,
};

use hardtack_format::encoding::{GROUP_QUADS, TILE_HEAD_BYTES};
use hardtack_kernels::nested::{CodeGroup, Folded, GROUP_ROWS};
use hardtack_kernels::{Activations, KernelTable, PanelRows};

use super::codes::{
    Inputs, RowSums, TokenCodes, add_scaled_sums, no_sums, panel_sums, store_rows, tile_bytes,
    written_out,
};
use super::memory::{broadcast_quad, load_tile};
use super::nested::broadcast_pair;
use super::nested_many::{self, Pair, Sums};
use super::{panel_q1, panel_q2, panel_q3, panel_q4, panel_q5, panel_q6};

// SAFETY: the table is given out only where the processor has the features.
pub(crate) static TABLE: KernelTable = unsafe { table() };

/// Kernels become plain function pointers only in a function with their features.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
const fn table() -> KernelTable {
    let [f32, f16, bf16, ..] = super::TABLE.panels;
    KernelTable {
        name: "avx2+vnni",
        panels: [f32, f16, bf16, q1, q2, q3, q4, q5, q6, q8],
        code_rows,
        ..super::TABLE
    }
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn code_rows(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    nested_many::code_rows(group, inputs, out, |pairs, inputs| multiply_pairs(pairs, inputs));
}

/// As that of the AVX2 tier, by one instruction for its two.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn multiply_pairs(pairs: &[Pair], inputs: &[Folded; TOGETHER]) -> Sums<TOGETHER> {
    let mut sums = no_sums();
    for (pair, codes) in pairs.iter().enumerate().take(GROUP_ROWS / 2) {
        for index in 0..TOGETHER {
            let input = broadcast_pair(&inputs[index], pair * 2);
            for half in 0..2 {
                sums[index][half] = _mm256_dpwssd_avx_epi32(sums[index][half], codes[half], input);
            }
        }
    }
    sums
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q1(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields(panel, activations, first_token, out, |tile, vector, half| {
        panel_q1::unpack(tile, vector, half)
    });
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q2(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields(panel, activations, first_token, out, |tile, vector, half| {
        panel_q2::unpack(tile, vector, half)
    });
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q3(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields(panel, activations, first_token, out, |tile, vector, half| {
        panel_q3::unpack(tile, vector, half)
    });
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q4(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields(panel, activations, first_token, out, |tile, vector, half| {
        panel_q4::unpack(tile, vector, half)
    });
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q5(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields(panel, activations, first_token, out, |tile, vector, half| {
        panel_q5::unpack(tile, vector, half)
    });
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q6(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields(panel, activations, first_token, out, |tile, vector, half| {
        panel_q6::unpack(tile, vector, half)
    });
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn q8(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_fields::<{ tile_bytes(8) }, 1>(
        panel,
        activations,
        first_token,
        out,
        |tile, vector, half| [load_tile(tile, TILE_HEAD_BYTES + vector * 64 + half * 32)],
    );
}

/// Tokens at once of those that meet unpacked codes: as many sums as hide the latency of adding to
/// them.
const TOGETHER: usize = 6;
/// As many times so many meet a tile's codes that are unpacked once.
const TIMES: usize = 4;

/// Multiplies a panel with the tokens; `unpack` is that of `codes::panel_fields`.
///
/// Few tokens are taken as in the AVX2 tier, four at a time. More of them share codes that are
/// unpacked into the first cache, six at a time.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
#[inline]
fn panel_fields<const TILE_BYTES: usize, const FIELDS: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
    unpack: impl Fn(&[u8; TILE_BYTES], usize, usize) -> [__m256i; FIELDS],
) {
    let one_panel = panel.len() == activations.groups() * TILE_BYTES;
    let unpacked_once = if one_panel { out.len() / TOGETHER * TOGETHER } else { 0 };
    let (many, few) = out.split_at_mut(unpacked_once);
    let mut token = first_token;
    for out in many.as_chunks_mut().0.chunks_mut(TIMES) {
        many_tokens(panel, activations, token, out, &unpack);
        token += out.len() * TOGETHER;
    }
    panel_sums(
        panel,
        activations,
        token,
        few,
        |tile, inputs| sum_fields::<TILE_BYTES, FIELDS, 4, 1>(tile, inputs, &unpack),
        |tile, inputs| sum_fields::<TILE_BYTES, FIELDS, 2, 2>(tile, inputs, &unpack),
        |tile, inputs| sum_fields::<TILE_BYTES, FIELDS, 1, 2>(tile, inputs, &unpack),
    );
}

/// All codes of a tile: of every quad, rows 0..8 and rows 8..16.
type Unpacked = [[__m256i; 2]; GROUP_QUADS];

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
#[inline]
fn many_tokens<const TILE_BYTES: usize, const FIELDS: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [[PanelRows; TOGETHER]],
    unpack: &impl Fn(&[u8; TILE_BYTES], usize, usize) -> [__m256i; FIELDS],
) {
    let (tiles, rest) = panel.as_chunks();
    assert!(tiles.len() == activations.groups() && rest.is_empty(), "one panel");
    let groups = tiles.len();
    let mut rows = [[[_mm256_setzero_ps(); 2]; TOGETHER]; TIMES];
    let mut unpacked = [[_mm256_setzero_si256(); 2]; GROUP_QUADS];
    let mut tokens = [TokenCodes::<TOGETHER>::new(activations, first_token, groups); TIMES];
    for times in 1..out.len() {
        tokens[times] = TokenCodes::new(activations, first_token + times * TOGETHER, groups);
    }
    let tokens = &tokens[..out.len()];
    for group in 0..groups {
        let tile = &tiles[group];
        unpack_tile(tile, unpack, &mut unpacked);
        for (tokens, rows) in tokens.iter().zip(&mut rows) {
            add_scaled_sums(
                tile,
                multiply_unpacked(&unpacked, tokens.inputs(group)),
                tokens,
                group,
                rows,
            );
        }
    }
    for (out, rows) in out.as_flattened_mut().iter_mut().zip(rows.as_flattened()) {
        store_rows(*rows, out);
    }
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
#[inline]
fn unpack_tile<const TILE_BYTES: usize, const FIELDS: usize>(
    tile: &[u8; TILE_BYTES],
    unpack: &impl Fn(&[u8; TILE_BYTES], usize, usize) -> [__m256i; FIELDS],
    unpacked: &mut Unpacked,
) {
    let mut keep = |vector: usize| {
        for half in 0..2 {
            for (field, codes) in unpack(tile, vector, half).into_iter().enumerate() {
                unpacked[vector + field * (GROUP_QUADS / FIELDS)][half] = codes;
            }
        }
    };
    written_out::<FIELDS>(&mut keep);
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
#[inline]
fn multiply_unpacked(unpacked: &Unpacked, inputs: Inputs<'_, TOGETHER>) -> RowSums<TOGETHER> {
    let mut sums = no_sums();
    for quad in 0..GROUP_QUADS {
        for token in 0..TOGETHER {
            let input = broadcast_quad(inputs[token], quad);
            for half in 0..2 {
                sums[token][half] =
                    _mm256_dpbusd_avx_epi32(sums[token][half], unpacked[quad][half], input);
            }
        }
    }
    sums
}

/// The code sums of one tile, in so many chains of additions for each row that they hide their
/// latency.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
#[inline]
fn sum_fields<
    const TILE_BYTES: usize,
    const FIELDS: usize,
    const TOKENS: usize,
    const CHAINS: usize,
>(
    tile: &[u8; TILE_BYTES],
    inputs: Inputs<'_, TOKENS>,
    unpack: &impl Fn(&[u8; TILE_BYTES], usize, usize) -> [__m256i; FIELDS],
) -> RowSums<TOKENS> {
    let mut chains = [no_sums(); CHAINS];
    written_out::<FIELDS>(&mut |vector| add_vector(tile, inputs, unpack, vector, &mut chains));
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
fn add_vector<
    const TILE_BYTES: usize,
    const FIELDS: usize,
    const TOKENS: usize,
    const CHAINS: usize,
>(
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
                sums[token][half] =
                    _mm256_dpbusd_avx_epi32(sums[token][half], codes[half][field], quad);
            }
        }
    }
}
