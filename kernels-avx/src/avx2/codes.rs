//! Panels of integer codes: the loop over groups and tokens around the sum of one tile.

use core::arch::x86_64::{
    __m256, __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_cvtepi32_ps,
    _mm256_cvtph_ps, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi16,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
};
use core::array;

use hardtack_format::encoding::{GROUP_COLUMNS, GROUP_QUADS, TILE_BIT_BYTES, TILE_HEAD_BYTES};
use hardtack_kernels::{Activations, PanelRows};

use super::memory::{broadcast_quad, load_16_bytes, prefetch_ahead, store_floats};

/// Sums of codes times activations, one token each: rows 0..8 and rows 8..16 of the panel.
pub(crate) type RowSums<const TOKENS: usize> = [[__m256i; 2]; TOKENS];
/// One group of activations of each token.
pub(crate) type Inputs<'a, const TOKENS: usize> = [&'a [i8; GROUP_COLUMNS]; TOKENS];

/// Bytes of a tile of codes.
pub(crate) const fn tile_bytes(bits: usize) -> usize {
    TILE_HEAD_BYTES + bits * TILE_BIT_BYTES
}

/// Vectors of a tile whose products fit in sums of 16 bits: each of their fields adds two columns
/// of codes times int8.
const fn run(tile_bytes: usize, fields: usize) -> usize {
    let code_max = (1 << ((tile_bytes - TILE_HEAD_BYTES) / TILE_BIT_BYTES)) - 1;
    let mut run = GROUP_QUADS / fields;
    while run * fields * 2 * code_max * 128 > i16::MAX as usize {
        run /= 2;
    }
    run
}

const _: () = assert!(run(tile_bytes(1), 8) == 2 && run(tile_bytes(2), 4) == 4);
const _: () = assert!(run(tile_bytes(3), 4) == 4 && run(tile_bytes(4), 2) == 4);
const _: () = assert!(run(tile_bytes(5), 2) == 2 && run(tile_bytes(6), 2) == 1);

/// Multiplies a panel with the tokens. `unpack(tile, vector, half)` returns the codes in the fields
/// of one vector, as [`super::unpack`] says.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn panel<const TILE_BYTES: usize, const FIELDS: usize>(
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
        |tile, inputs| sum_fields::<TILE_BYTES, FIELDS, 4>(tile, inputs, &unpack),
        |tile, inputs| sum_fields::<TILE_BYTES, FIELDS, 2>(tile, inputs, &unpack),
        |tile, inputs| sum_fields::<TILE_BYTES, FIELDS, 1>(tile, inputs, &unpack),
    );
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn sum_fields<const TILE_BYTES: usize, const FIELDS: usize, const TOKENS: usize>(
    tile: &[u8; TILE_BYTES],
    inputs: Inputs<'_, TOKENS>,
    unpack: &impl Fn(&[u8; TILE_BYTES], usize, usize) -> [__m256i; FIELDS],
) -> RowSums<TOKENS> {
    let quads_apart = GROUP_QUADS / FIELDS;
    let length = const { run(TILE_BYTES, FIELDS) };
    let mut wide = no_sums();
    for run in 0..quads_apart / length {
        let mut narrow = no_sums::<TOKENS>();
        for vector in run * length..(run + 1) * length {
            for half in 0..2 {
                let fields = unpack(tile, vector, half);
                for field in 0..FIELDS {
                    for token in 0..TOKENS {
                        let quad = broadcast_quad(inputs[token], vector + field * quads_apart);
                        narrow[token][half] =
                            add_products(narrow[token][half], fields[field], quad);
                    }
                }
            }
        }
        for token in 0..TOKENS {
            for half in 0..2 {
                wide[token][half] = add_wide(wide[token][half], narrow[token][half]);
            }
        }
    }
    wide
}

/// Multiplies a panel with the tokens, four, two or one at a time: unpacking the codes costs about
/// as much as multiplying them with one token. `four`, `two` and `one` return the exact code sums
/// of one tile.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn panel_sums<const TILE_BYTES: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
    four: impl Fn(&[u8; TILE_BYTES], Inputs<'_, 4>) -> RowSums<4>,
    two: impl Fn(&[u8; TILE_BYTES], Inputs<'_, 2>) -> RowSums<2>,
    one: impl Fn(&[u8; TILE_BYTES], Inputs<'_, 1>) -> RowSums<1>,
) {
    let (tiles, rest) = panel.as_chunks();
    if tiles.len() > activations.groups() {
        assert!(
            tiles.len() == activations.groups() * out.len() && rest.is_empty(),
            "a panel for each result"
        );
        return panels(tiles, activations, first_token, out, &one);
    }
    assert!(tiles.len() == activations.groups() && rest.is_empty(), "one panel");
    let mut token = first_token;
    let (fours, out) = out.as_chunks_mut();
    for out in fours {
        tokens(tiles, activations, token, out, &four);
        token += 4;
    }
    let (twos, ones) = out.as_chunks_mut();
    for out in twos {
        tokens(tiles, activations, token, out, &two);
        token += 2;
    }
    for out in ones.as_chunks_mut().0 {
        tokens(tiles, activations, token, out, &one);
    }
}

/// Multiplies panels with one token, two of them side by side: memory answers a core sooner in two
/// places than in one, and in four no sooner.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn panels<const TILE_BYTES: usize>(
    tiles: &[[u8; TILE_BYTES]],
    activations: &Activations<'_>,
    token: usize,
    out: &mut [PanelRows],
    sums: &impl Fn(&[u8; TILE_BYTES], Inputs<'_, 1>) -> RowSums<1>,
) {
    let groups = activations.groups();
    let inputs = TokenCodes::<1>::new(activations, token, groups);
    let TwoParts { pairs, last } = in_two_parts(tiles, groups, out);
    for ((first, of_first), (second, of_second)) in pairs {
        let mut rows = [[[_mm256_setzero_ps(); 2]]; 2];
        for group in 0..groups {
            for (tile, rows) in [&of_first[group], &of_second[group]].into_iter().zip(&mut rows) {
                prefetch_ahead(tile);
                add_scaled_sums(tile, sums(tile, inputs.inputs(group)), &inputs, group, rows);
            }
        }
        store_rows(rows[0][0], first);
        store_rows(rows[1][0], second);
    }
    if let Some((out, tiles)) = last {
        tokens(tiles, activations, token, array::from_mut(out), sums);
    }
}

/// One panel: where its result goes, and its tiles.
type Panel<'a, T> = (&'a mut PanelRows, &'a [T]);

/// Panels in two halves, one of each side by side, and an odd last one.
pub(crate) struct TwoParts<I, L> {
    pub(crate) pairs: I,
    pub(crate) last: Option<L>,
}

/// Cuts panels into two halves, each consecutive in memory: what is prefetched ahead of a panel is
/// then what is read next.
#[inline(always)]
pub(crate) fn in_two_parts<'a, T>(
    tiles: &'a [T],
    groups: usize,
    out: &'a mut [PanelRows],
) -> TwoParts<impl Iterator<Item = (Panel<'a, T>, Panel<'a, T>)>, Panel<'a, T>> {
    let half = out.len() / 2;
    let (first, rest) = out.split_at_mut(half);
    let (second, last) = rest.split_at_mut(half);
    let (of_first, rest) = tiles.split_at(half * groups);
    let (of_second, of_last) = rest.split_at(half * groups);
    let first = first.iter_mut().zip(of_first.chunks_exact(groups));
    let second = second.iter_mut().zip(of_second.chunks_exact(groups));
    TwoParts { pairs: first.zip(second), last: last.first_mut().map(|out| (out, of_last)) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn tokens<const TILE_BYTES: usize, const TOKENS: usize>(
    tiles: &[[u8; TILE_BYTES]],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows; TOKENS],
    sums: &impl Fn(&[u8; TILE_BYTES], Inputs<'_, TOKENS>) -> RowSums<TOKENS>,
) {
    let groups = tiles.len();
    let each = TokenCodes::<TOKENS>::new(activations, first_token, groups);
    let mut rows = [[_mm256_setzero_ps(); 2]; TOKENS];
    for group in 0..groups {
        if TOKENS == 1 {
            prefetch_ahead(&tiles[group]);
        }
        let code_sums = sums(&tiles[group], each.inputs(group));
        add_scaled_sums(&tiles[group], code_sums, &each, group, &mut rows);
    }
    for token in 0..TOKENS {
        store_rows(rows[token], &mut out[token]);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn store_rows(rows: [__m256; 2], out: &mut PanelRows) {
    let (halves, _) = out.as_chunks_mut();
    store_floats(&mut halves[0], rows[0]);
    store_floats(&mut halves[1], rows[1]);
}

/// Activations of some tokens, cut to the same number of groups, so that loops over groups need no
/// checks.
#[derive(Clone, Copy)]
pub(crate) struct TokenCodes<'a, const TOKENS: usize> {
    codes: [&'a [[i8; GROUP_COLUMNS]]; TOKENS],
    pub(crate) scales: [&'a [f32]; TOKENS],
    pub(crate) sums: [&'a [f32]; TOKENS],
}

impl<'a, const TOKENS: usize> TokenCodes<'a, TOKENS> {
    #[inline(always)]
    pub(crate) fn new(activations: &Activations<'a>, first_token: usize, groups: usize) -> Self {
        let mut all = Self { codes: [&[]; TOKENS], scales: [&[]; TOKENS], sums: [&[]; TOKENS] };
        for token in 0..TOKENS {
            let (codes, scales, sums) = activations.token_codes(first_token + token);
            all.codes[token] = &codes.as_chunks().0[..groups];
            all.scales[token] = &scales[..groups];
            all.sums[token] = &sums[..groups];
        }
        all
    }

    #[inline(always)]
    pub(crate) fn inputs(&self, group: usize) -> Inputs<'a, TOKENS> {
        let mut inputs = [&self.codes[0][group]; TOKENS];
        for token in 1..TOKENS {
            inputs[token] = &self.codes[token][group];
        }
        inputs
    }
}

/// Adds a tile's code sums to the tokens' rows.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn add_scaled_sums<const TILE_BYTES: usize, const TOKENS: usize>(
    tile: &[u8; TILE_BYTES],
    code_sums: RowSums<TOKENS>,
    tokens: &TokenCodes<'_, TOKENS>,
    group: usize,
    rows: &mut [[__m256; 2]; TOKENS],
) {
    for half in 0..2 {
        let scale = load_f16_at(tile, half * 16);
        let minimum = load_f16_at(tile, 32 + half * 16);
        for token in 0..TOKENS {
            // In the order of operations that `PanelFn` fixes, and never fused.
            let code_sum = _mm256_cvtepi32_ps(code_sums[token][half]);
            let scaled = _mm256_mul_ps(
                _mm256_mul_ps(code_sum, _mm256_set1_ps(tokens.scales[token][group])),
                scale,
            );
            let offset = _mm256_mul_ps(_mm256_set1_ps(tokens.sums[token][group]), minimum);
            rows[token][half] = _mm256_add_ps(rows[token][half], _mm256_add_ps(scaled, offset));
        }
    }
}

/// Eight f16 of a tile's head.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_f16_at<const BYTES: usize>(tile: &[u8; BYTES], at: usize) -> __m256 {
    _mm256_cvtph_ps(load_16_bytes(tile[at..].first_chunk().expect("within the head")))
}

/// Adds codes times activations to sums of 16 bits, two of them for each row.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn add_products(sums: __m256i, codes: __m256i, inputs: __m256i) -> __m256i {
    _mm256_add_epi16(sums, _mm256_maddubs_epi16(codes, inputs))
}

/// Adds each row's two sums of 16 bits to its sum of 32 bits.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn add_wide(wide: __m256i, narrow: __m256i) -> __m256i {
    _mm256_add_epi32(wide, _mm256_madd_epi16(narrow, _mm256_set1_epi16(1)))
}

/// Zeros.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn no_sums<const TOKENS: usize>() -> RowSums<TOKENS> {
    [[_mm256_setzero_si256(); 2]; TOKENS]
}

/// Calls `each` for every vector of a tile. Written out, as the optimizer keeps so long a loop, and
/// codes are shifted by a constant only for a constant vector.
#[inline(always)]
pub(crate) fn written_out<const FIELDS: usize>(each: &mut impl FnMut(usize)) {
    const {
        assert!(
            FIELDS == 8 || FIELDS == 4 || FIELDS == 2 || FIELDS == 1,
            "vectors by two, four or eight"
        )
    };
    for first in (0..GROUP_QUADS / FIELDS).step_by(8) {
        each(first);
        each(first + 1);
        if FIELDS < 8 {
            each(first + 2);
            each(first + 3);
        }
        if FIELDS < 4 {
            each(first + 4);
            each(first + 5);
            each(first + 6);
            each(first + 7);
        }
    }
}
