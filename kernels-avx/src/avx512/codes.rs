//! Panels of codes by AVX-512: a vector holds four columns of all 16 rows of a panel.

use core::arch::x86_64::{
    __m512, __m512i, _mm256_loadu_si256, _mm512_add_epi32, _mm512_add_ps, _mm512_cvtepi32_ps,
    _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
};
use core::array;

use hardtack_format::encoding::{GROUP_COLUMNS, GROUP_QUADS};
use hardtack_kernels::{Activations, PanelRows};

use crate::avx2::codes::{TokenCodes, TwoParts, in_two_parts, written_out};
use crate::avx2::memory::prefetch_ahead;

/// Multiplies a panel with the tokens, eight at a time while there are as many: unpacking codes
/// costs about as much as multiplying them with one or two. `unpack(tile, vector)` returns the
/// codes in the fields of one vector: field `i` has quad `vector + i * 16 / FIELDS` of each row.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
pub(super) fn panel<const TILE_BYTES: usize, const FIELDS: usize>(
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

/// The code sums of one tile, in enough chains of additions for each token to hide their latency.
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

/// 16 f16 of a tile's head.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
#[inline]
fn load_f16<const BYTES: usize>(tile: &[u8; BYTES], at: usize) -> __m512 {
    let bytes: &[u8; 32] = tile[at..].first_chunk().expect("within the head");
    // SAFETY: the array is the 32 bytes that are read, at any address.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) })
}
