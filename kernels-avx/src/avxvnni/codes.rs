//! Panels of codes by AVX-VNNI: few tokens as in the AVX2 tier, many of them by codes that are
//! unpacked once.

use core::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_dpbusd_avx_epi32, _mm256_setzero_ps, _mm256_setzero_si256,
};

use hardtack_format::encoding::GROUP_QUADS;
use hardtack_kernels::{Activations, PanelRows};

use crate::avx2::codes::{
    Inputs, RowSums, TokenCodes, add_scaled_sums, no_sums, panel_sums, store_rows, written_out,
};
use crate::avx2::memory::broadcast_quad;

/// Tokens that are multiplied with unpacked codes at once: as many sums as hide the latency of
/// adding to them.
const TOGETHER: usize = 6;
/// How many times that many tokens share the codes of a tile that is unpacked once.
const TIMES: usize = 4;

/// Multiplies a panel with the tokens. `unpack` is as [`unpack`](crate::avx2::unpack) says.
///
/// Few tokens are taken as in the AVX2 tier, four at a time. More of them share codes that are
/// unpacked into the first cache, six at a time.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
#[inline]
pub(super) fn panel<const TILE_BYTES: usize, const FIELDS: usize>(
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

/// The code sums of one tile, in enough chains of additions for each row to hide their latency.
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
