//! Panels of 4-bit codes whose tiles keep scales and minima as 6-bit codes under two half floats,
//! for groups of 64 or 32 columns; and, through the same loop, as half floats, to tell the loop's
//! part from that of the scales.
//!
//! A tile: its own scale and minimum, then for each group of columns 16 bytes with a row's scale in
//! 6 bits and the low two of its minimum, and 8 bytes with the high four of two rows' minima; then
//! the plane of codes.

use core::arch::x86_64::{
    __m256, __m256i, _mm_and_si128, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8, _mm_set1_epi16,
    _mm_slli_epi16, _mm_srli_epi16, _mm_srli_si128, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_add_ps, _mm256_and_si256, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtph_ps,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_srli_epi16,
};

use hardtack_format::encoding::{GROUP_COLUMNS, TILE_BIT_BYTES, TILE_HEAD_BYTES};
use hardtack_kernels::{Activations, PanelRows};

use crate::memory::{broadcast_quad, load_16_bytes, load_tile, store_floats};

/// The tile's scale and minimum.
const SHARED_BYTES: usize = 4;
/// Codes of scales and minima of 16 rows.
const CODED_HEAD_BYTES: usize = 24;
/// Vectors of a plane of 4 bits, and its fields a byte: each has 32 columns.
const VECTORS: usize = 8;
const FIELDS: usize = 2;
const _: () = assert!(VECTORS * 2 * 15 * 127 <= i16::MAX as usize);

/// How a tile keeps scales and minima.
pub const HALVES: usize = 1;
pub const CODED: usize = 2;

/// Bytes of a tile with so many groups of columns.
pub const fn tile_bytes(levels: usize, groups: usize) -> usize {
    head_at(levels, groups) + 4 * TILE_BIT_BYTES
}

/// Where the head of a group stands, and behind the last one the plane.
const fn head_at(levels: usize, group: usize) -> usize {
    if levels == HALVES { group * TILE_HEAD_BYTES } else { SHARED_BYTES + group * CODED_HEAD_BYTES }
}

/// Multiplies a panel whose tiles have `GROUPS` (1 or 2) groups of columns with one token. `sums`
/// has the scale times the sum of codes of each group of the activations.
#[target_feature(enable = "avx2,fma,f16c")]
pub fn panel<const LEVELS: usize, const GROUPS: usize, const TILE_BYTES: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    sums: &[f32],
    out: &mut PanelRows,
) {
    const {
        assert!(
            TILE_BYTES == tile_bytes(LEVELS, GROUPS) && GROUPS <= FIELDS,
            "a tile of one or two groups"
        )
    };
    let (codes, scales, _) = activations.token_codes(0);
    let (tiles, rest) = panel.as_chunks::<TILE_BYTES>();
    assert!(
        rest.is_empty() && tiles.len() == scales.len() && sums.len() == GROUPS * tiles.len(),
        "one panel"
    );
    let inputs = &codes.as_chunks::<GROUP_COLUMNS>().0[..tiles.len()];
    let sums = &sums.as_chunks::<GROUPS>().0[..tiles.len()];
    let mut rows = [_mm256_setzero_ps(); 2];
    for index in 0..tiles.len() {
        let tile = &tiles[index];
        let mut code_sums = code_sums::<TILE_BYTES>(tile, &inputs[index], head_at(LEVELS, GROUPS));
        if GROUPS == 1 {
            for half in 0..2 {
                code_sums[0][half] = _mm256_add_epi32(code_sums[0][half], code_sums[1][half]);
            }
        }
        let mut factors = [_mm256_set1_ps(scales[index]), _mm256_set1_ps(1.0)];
        if LEVELS == CODED {
            factors = [_mm256_mul_ps(factors[0], shared(tile, 0)), shared(tile, 2)];
        }
        for group in 0..GROUPS {
            let at = head_at(LEVELS, group);
            let head = if LEVELS == CODED { coded_head(tile, at) } else { halves_head(tile, at) };
            let offset = _mm256_mul_ps(factors[1], _mm256_set1_ps(sums[index][group]));
            for half in 0..2 {
                let sum = _mm256_mul_ps(_mm256_cvtepi32_ps(code_sums[group][half]), factors[0]);
                let own = _mm256_add_ps(
                    _mm256_mul_ps(sum, head[half]),
                    _mm256_mul_ps(offset, head[2 + half]),
                );
                rows[half] = _mm256_add_ps(rows[half], own);
            }
        }
    }
    let (halves, _) = out.as_chunks_mut();
    store_floats(&mut halves[0], rows[0]);
    store_floats(&mut halves[1], rows[1]);
}

/// Sums of codes times activations: `[field][half]`, a field being 32 columns.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn code_sums<const TILE_BYTES: usize>(
    tile: &[u8; TILE_BYTES],
    inputs: &[i8; GROUP_COLUMNS],
    plane: usize,
) -> [[__m256i; 2]; FIELDS] {
    let (low, ones) = (_mm256_set1_epi8(0x0f), _mm256_set1_epi16(1));
    let mut sums = [[_mm256_setzero_si256(); 2]; FIELDS];
    for vector in 0..VECTORS {
        for half in 0..2 {
            let bytes = load_tile(tile, plane + vector * 64 + half * 32);
            let codes = [
                _mm256_and_si256(bytes, low),
                _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low),
            ];
            for field in 0..FIELDS {
                let products = _mm256_maddubs_epi16(
                    codes[field],
                    broadcast_quad(inputs, vector + field * VECTORS),
                );
                sums[field][half] = _mm256_add_epi16(sums[field][half], products);
            }
        }
    }
    for field in 0..FIELDS {
        for half in 0..2 {
            sums[field][half] = _mm256_madd_epi16(sums[field][half], ones);
        }
    }
    sums
}

/// A half float of the tile in all lanes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn shared<const TILE_BYTES: usize>(tile: &[u8; TILE_BYTES], at: usize) -> __m256 {
    _mm256_cvtph_ps(_mm_set1_epi16(i16::from_le_bytes([tile[at], tile[at + 1]])))
}

/// Scales of rows 0..8 and 8..16, then their minima.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn halves_head<const TILE_BYTES: usize>(tile: &[u8; TILE_BYTES], at: usize) -> [__m256; 4] {
    let mut head = [_mm256_setzero_ps(); 4];
    for part in 0..4 {
        head[part] = _mm256_cvtph_ps(load_16_bytes(
            tile[at + part * 16..].first_chunk().expect("within the head"),
        ));
    }
    head
}

/// The same from codes, which stay whole numbers.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn coded_head<const TILE_BYTES: usize>(tile: &[u8; TILE_BYTES], at: usize) -> [__m256; 4] {
    let bytes = load_16_bytes(tile[at..].first_chunk().expect("within the head"));
    let nibbles = i64::from_le_bytes(*tile[at + 16..].first_chunk().expect("within the head"));
    let high = _mm_and_si128(_mm_set_epi64x(nibbles >> 4, nibbles), _mm_set1_epi8(0x0f));
    let low = _mm_and_si128(_mm_srli_epi16::<6>(bytes), _mm_set1_epi8(0x03));
    let scales = _mm_and_si128(bytes, _mm_set1_epi8(0x3f));
    let minima = _mm_or_si128(low, _mm_slli_epi16::<2>(high));
    [
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(scales)),
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128::<8>(scales))),
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(minima)),
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128::<8>(minima))),
    ]
}
