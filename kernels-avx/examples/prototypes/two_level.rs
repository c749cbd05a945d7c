//! Panels of 4-bit codes whose tiles keep scales and minima as 6-bit codes under two half floats, for groups of 64 or 32 columns.
//!
//! A tile: the scale and the minimum of the tile, then for each group of columns 16 bytes with a row's scale in 6 bits and the
//! low two of its minimum, and 8 bytes with the high four of two rows' minima; then the plane of codes.

use core::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_and_si128, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8, _mm_set1_epi16,
    _mm_slli_epi16, _mm_srli_epi16, _mm_srli_si128, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps,
    _mm256_and_si256, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtph_ps, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm256_srli_epi16,
};

use hardtack_format::encoding::{GROUP_COLUMNS, TILE_BIT_BYTES};
use hardtack_kernels::{Activations, PanelRows};

use crate::memory::{broadcast_quad, load_16_bytes, load_tile, store_floats};

/// The tile's scale and minimum.
const SHARED_BYTES: usize = 4;
/// Codes of scales and minima of 16 rows.
const HEAD_BYTES: usize = 24;
/// Vectors of a plane of 4 bits, and its fields a byte: each has 32 columns.
const VECTORS: usize = 8;
const FIELDS: usize = 2;
const _: () = assert!(VECTORS * 2 * 15 * 127 <= i16::MAX as usize);

/// Bytes of a tile with so many groups of columns.
pub const fn tile_bytes(groups: usize) -> usize {
    SHARED_BYTES + groups * HEAD_BYTES + 4 * TILE_BIT_BYTES
}

/// Multiplies a panel whose tiles have `GROUPS` (1 or 2) groups of columns with one token. `sums` has the scale times the sum of
/// codes of each group of the activations.
#[target_feature(enable = "avx2,fma,f16c")]
pub fn panel<const GROUPS: usize, const TILE_BYTES: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    sums: &[f32],
    out: &mut PanelRows,
) {
    const { assert!(TILE_BYTES == tile_bytes(GROUPS) && GROUPS <= FIELDS, "a tile of one or two groups") };
    let (codes, scales, _) = activations.token_codes(0);
    let (tiles, rest) = panel.as_chunks::<TILE_BYTES>();
    let inputs = codes.as_chunks::<GROUP_COLUMNS>().0;
    assert!(rest.is_empty() && tiles.len() == inputs.len() && sums.len() == GROUPS * tiles.len(), "one panel");
    let mut rows = [_mm256_setzero_ps(); 2];
    for (((tile, inputs), &scale), sums) in tiles.iter().zip(inputs).zip(scales).zip(sums.as_chunks::<GROUPS>().0) {
        let code_sums = code_sums(tile, inputs, SHARED_BYTES + GROUPS * HEAD_BYTES);
        let shared = |at: usize| {
            let half = i16::from_le_bytes([tile[at], tile[at + 1]]);
            _mm256_cvtph_ps(_mm_set1_epi16(half))
        };
        let (scale, minimum) = (_mm256_mul_ps(shared(0), _mm256_set1_ps(scale)), shared(2));
        for group in 0..GROUPS {
            let head = head(tile, SHARED_BYTES + group * HEAD_BYTES);
            let offset = _mm256_mul_ps(minimum, _mm256_set1_ps(sums[group]));
            for half in 0..2 {
                let sum = if GROUPS == 2 {
                    code_sums[group][half]
                } else {
                    _mm256_add_epi32(code_sums[0][half], code_sums[1][half])
                };
                let scaled = _mm256_mul_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale), head[0][half]);
                rows[half] = _mm256_add_ps(rows[half], _mm256_add_ps(scaled, _mm256_mul_ps(offset, head[1][half])));
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
    let mut narrow = [[_mm256_setzero_si256(); 2]; FIELDS];
    let low = _mm256_set1_epi8(0x0f);
    for vector in 0..VECTORS {
        let quads = [broadcast_quad(inputs, vector), broadcast_quad(inputs, vector + VECTORS)];
        for half in 0..2 {
            let bytes = load_tile(tile, plane + vector * 64 + half * 32);
            let high = _mm256_srli_epi16::<4>(bytes);
            for (field, codes) in [bytes, high].into_iter().enumerate() {
                let codes = _mm256_and_si256(codes, low);
                narrow[field][half] = _mm256_add_epi16(narrow[field][half], _mm256_maddubs_epi16(codes, quads[field]));
            }
        }
    }
    narrow.map(|halves| halves.map(|sums| _mm256_madd_epi16(sums, _mm256_set1_epi16(1))))
}

/// Codes of scales and of minima as floats: `[scale or minimum][half]`.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn head<const TILE_BYTES: usize>(tile: &[u8; TILE_BYTES], at: usize) -> [[__m256; 2]; 2] {
    let bytes = load_16_bytes(tile[at..].first_chunk().expect("within the head"));
    let nibbles = i64::from_le_bytes(*tile[at + 16..].first_chunk().expect("within the head"));
    let high = _mm_and_si128(_mm_set_epi64x(nibbles >> 4, nibbles), _mm_set1_epi8(0x0f));
    let low = _mm_and_si128(_mm_srli_epi16::<6>(bytes), _mm_set1_epi8(0x03));
    let scales = _mm_and_si128(bytes, _mm_set1_epi8(0x3f));
    let minima = _mm_or_si128(low, _mm_slli_epi16::<2>(high));
    [scales, minima].map(|codes: __m128i| {
        [codes, _mm_srli_si128::<8>(codes)].map(|eight| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight)))
    })
}
