//! The table of the AVX-512 tier: the AVX2 tier's but for its integer panels. A vector holds four
//! columns of all 16 rows of a panel, and one instruction multiplies them with their activations
//! and adds them to the rows' sums.
//!
//! The table is private, and `crate::avx512vnni()` gives it out only where the processor has the
//! features.

#![allow(clippy::needless_range_loop, reason = "one number indexes several arrays: tokens, chains")]

mod unpack;

use core::arch::x86_64::{
    __m512, __m512i, _mm256_loadu_si256, _mm256_setzero_si256, _mm512_add_epi32, _mm512_add_ps,
    _mm512_castsi256_si512, _mm512_castsi512_si256, _mm512_cvtepi32_ps, _mm512_cvtph_ps,
    _mm512_dpbusd_epi32, _mm512_dpwssd_epi32, _mm512_extracti64x4_epi64, _mm512_inserti64x4,
    _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_storeu_ps,
};
use core::array;

use hardtack_format::encoding::{GROUP_COLUMNS, GROUP_QUADS};
use hardtack_kernels::nested::{CodeGroup, Folded, GROUP_ROWS};
use hardtack_kernels::{Activations, KernelTable, PanelRows};

use crate::avx2::codes::{TokenCodes, TwoParts, in_two_parts, tile_bytes, written_out};
use crate::avx2::memory::prefetch_ahead;
use crate::avx2::nested::input_pair;
use crate::avx2::nested_many::{self, Pair, Sums};

// SAFETY: the table is given out only where the processor has the features.
pub(crate) static TABLE: KernelTable = unsafe { table() };

/// Kernels become plain function pointers only in a function with their features.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
const fn table() -> KernelTable {
    let [f32, f16, bf16, ..] = crate::avx2::TABLE.panels;
    KernelTable {
        name: "avx512+vnni",
        panels: [f32, f16, bf16, q1, q2, q3, q4, q5, q6, q8],
        code_rows,
        ..crate::avx2::TABLE
    }
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn code_rows(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    nested_many::code_rows(group, inputs, out, |pairs, inputs| multiply_pairs(pairs, inputs));
}

/// Inputs of nested codes at once: as many sums as hide the latency of adding to them.
const INPUTS: usize = 8;

/// As that of the AVX2 tier, the columns of a pair in one vector.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn multiply_pairs(pairs: &[Pair], inputs: &[Folded; INPUTS]) -> Sums<INPUTS> {
    let mut sums = [_mm512_setzero_si512(); INPUTS];
    for (pair, [low, high]) in pairs.iter().enumerate().take(GROUP_ROWS / 2) {
        let codes = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(*low), *high);
        for index in 0..INPUTS {
            let input = _mm512_set1_epi32(input_pair(&inputs[index], pair * 2));
            sums[index] = _mm512_dpwssd_epi32(sums[index], codes, input);
        }
    }
    // Not `map`, which lacks the features and where it is not inlined calls a function for every
    // sum.
    let mut halves = [[_mm256_setzero_si256(); 2]; INPUTS];
    for index in 0..INPUTS {
        halves[index] =
            [_mm512_castsi512_si256(sums[index]), _mm512_extracti64x4_epi64::<1>(sums[index])];
    }
    halves
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn q1(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    multiply(panel, activations, first_token, out, |tile, vector| unpack::q1(tile, vector));
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn q2(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    multiply(panel, activations, first_token, out, |tile, vector| unpack::q2(tile, vector));
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn q3(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    multiply(panel, activations, first_token, out, |tile, vector| unpack::q3(tile, vector));
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn q4(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    multiply(panel, activations, first_token, out, |tile, vector| unpack::q4(tile, vector));
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn q5(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    multiply(panel, activations, first_token, out, |tile, vector| unpack::q5(tile, vector));
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn q6(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    multiply(panel, activations, first_token, out, |tile, vector| unpack::q6(tile, vector));
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn q8(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    multiply(panel, activations, first_token, out, |tile, vector| unpack::q8(tile, vector));
}

/// Multiplies a panel with the tokens, eight at a time while there are as many: unpacking codes
/// costs about as much as multiplying them with one or two. `unpack(tile, vector)` gives the codes
/// in the fields of one vector: field `i` has quad `vector + i * 16 / FIELDS` of each row.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
fn multiply<const TILE_BYTES: usize, const FIELDS: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
    unpack: impl Fn(&[u8; TILE_BYTES], usize) -> [__m512i; FIELDS],
) {
    let (tiles, rest) = panel.as_chunks();
    if tiles.len() > activations.groups() {
        assert!(
            tiles.len() == activations.groups() * out.len() && rest.is_empty(),
            "a panel for each result"
        );
        return panels(tiles, activations, first_token, out, &unpack);
    }
    assert!(tiles.len() == activations.groups() && rest.is_empty(), "one panel");
    let mut token = first_token;
    let (eights, out) = out.as_chunks_mut();
    for out in eights {
        tokens::<TILE_BYTES, FIELDS, 8, 1>(tiles, activations, token, out, &unpack);
        token += 8;
    }
    let (fours, out) = out.as_chunks_mut();
    for out in fours {
        tokens::<TILE_BYTES, FIELDS, 4, 2>(tiles, activations, token, out, &unpack);
        token += 4;
    }
    let (twos, ones) = out.as_chunks_mut();
    for out in twos {
        tokens::<TILE_BYTES, FIELDS, 2, 4>(tiles, activations, token, out, &unpack);
        token += 2;
    }
    for out in ones.as_chunks_mut().0 {
        tokens::<TILE_BYTES, FIELDS, 1, 4>(tiles, activations, token, out, &unpack);
    }
}

/// Multiplies panels with one token, two of them side by side: memory answers a core sooner in two
/// places than in one, and in four no sooner.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
fn panels<const TILE_BYTES: usize, const FIELDS: usize>(
    tiles: &[[u8; TILE_BYTES]],
    activations: &Activations<'_>,
    token: usize,
    out: &mut [PanelRows],
    unpack: &impl Fn(&[u8; TILE_BYTES], usize) -> [__m512i; FIELDS],
) {
    let groups = activations.groups();
    let inputs = TokenCodes::<1>::new(activations, token, groups);
    let TwoParts { pairs, last } = in_two_parts(tiles, groups, out);
    for ((first, of_first), (second, of_second)) in pairs {
        let mut rows = [[_mm512_setzero_ps()]; 2];
        for group in 0..groups {
            for (tile, rows) in [&of_first[group], &of_second[group]].into_iter().zip(&mut rows) {
                prefetch_ahead(tile);
                let sums = sums::<TILE_BYTES, FIELDS, 1, 4>(tile, inputs.inputs(group), unpack);
                add_scaled_sums(tile, sums, &inputs, group, rows);
            }
        }
        store_rows(rows[0][0], first);
        store_rows(rows[1][0], second);
    }
    if let Some((out, tiles)) = last {
        tokens::<TILE_BYTES, FIELDS, 1, 4>(tiles, activations, token, array::from_mut(out), unpack);
    }
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
fn tokens<
    const TILE_BYTES: usize,
    const FIELDS: usize,
    const TOKENS: usize,
    const CHAINS: usize,
>(
    tiles: &[[u8; TILE_BYTES]],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows; TOKENS],
    unpack: &impl Fn(&[u8; TILE_BYTES], usize) -> [__m512i; FIELDS],
) {
    let groups = tiles.len();
    let inputs = TokenCodes::<TOKENS>::new(activations, first_token, groups);
    let mut rows = [_mm512_setzero_ps(); TOKENS];
    for group in 0..groups {
        let tile = &tiles[group];
        if TOKENS == 1 {
            prefetch_ahead(tile);
        }
        let sums = sums::<TILE_BYTES, FIELDS, TOKENS, CHAINS>(tile, inputs.inputs(group), unpack);
        add_scaled_sums(tile, sums, &inputs, group, &mut rows);
    }
    for token in 0..TOKENS {
        store_rows(rows[token], &mut out[token]);
    }
}

/// Adds a tile's code sums to the tokens' rows.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
fn add_scaled_sums<const TILE_BYTES: usize, const TOKENS: usize>(
    tile: &[u8; TILE_BYTES],
    sums: [__m512i; TOKENS],
    inputs: &TokenCodes<'_, TOKENS>,
    group: usize,
    rows: &mut [__m512; TOKENS],
) {
    let (scale, minimum) = (load_f16(tile, 0), load_f16(tile, 32));
    for token in 0..TOKENS {
        // In the order of operations that `PanelFn` fixes, and never fused.
        let code_sum = _mm512_cvtepi32_ps(sums[token]);
        let scaled = _mm512_mul_ps(
            _mm512_mul_ps(code_sum, _mm512_set1_ps(inputs.scales[token][group])),
            scale,
        );
        let offset = _mm512_mul_ps(_mm512_set1_ps(inputs.sums[token][group]), minimum);
        rows[token] = _mm512_add_ps(rows[token], _mm512_add_ps(scaled, offset));
    }
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
fn store_rows(rows: __m512, out: &mut PanelRows) {
    // SAFETY: the array is the 64 bytes that are written, at any address.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), rows) };
}

/// The code sums of one tile, in so many chains of additions for each token that they hide their
/// latency.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
fn sums<const TILE_BYTES: usize, const FIELDS: usize, const TOKENS: usize, const CHAINS: usize>(
    tile: &[u8; TILE_BYTES],
    inputs: [&[i8; GROUP_COLUMNS]; TOKENS],
    unpack: &impl Fn(&[u8; TILE_BYTES], usize) -> [__m512i; FIELDS],
) -> [__m512i; TOKENS] {
    let mut chains = [[_mm512_setzero_si512(); TOKENS]; CHAINS];
    let mut add = |vector: usize| {
        let codes = unpack(tile, vector);
        for field in 0..FIELDS {
            let sums = &mut chains[(vector * FIELDS + field) % CHAINS];
            for token in 0..TOKENS {
                let quad = broadcast_quad(inputs[token], vector + field * (GROUP_QUADS / FIELDS));
                sums[token] = _mm512_dpbusd_epi32(sums[token], codes[field], quad);
            }
        }
    };
    written_out::<FIELDS>(&mut add);
    let mut sums = chains[0];
    for chain in &chains[1..] {
        for token in 0..TOKENS {
            sums[token] = _mm512_add_epi32(sums[token], chain[token]);
        }
    }
    sums
}

/// Four int8 activations of one group, in all 16 lanes.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
fn broadcast_quad(inputs: &[i8; GROUP_COLUMNS], quad: usize) -> __m512i {
    let at = quad * 4;
    let bytes = [inputs[at], inputs[at + 1], inputs[at + 2], inputs[at + 3]];
    _mm512_set1_epi32(i32::from_le_bytes(bytes.map(i8::cast_unsigned)))
}

/// 16 half floats of a tile's head.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
fn load_f16<const BYTES: usize>(tile: &[u8; BYTES], at: usize) -> __m512 {
    let bytes: &[u8; 32] = tile[at..].first_chunk().expect("within the head");
    // SAFETY: the array is the 32 bytes that are read, at any address.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) })
}
