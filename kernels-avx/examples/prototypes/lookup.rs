//! Panels whose codes are looked up in place of being multiplied (T-MAC, arXiv 2407.00088): four
//! bits of a row, one for each of four columns, name one of 16 sums of these columns' inputs.
//! Tables are made once a token, for all rows; each bit of the codes is a plane with as many
//! lookups. Sums are exact: a table's entries have two bytes, and so two shuffles.

use core::arch::x86_64::{
    __m256i, _mm_add_epi16, _mm256_add_epi16, _mm256_and_si256, _mm256_castsi256_si128,
    _mm256_cvtepi16_epi32, _mm256_extracti128_si256, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16, _mm256_unpackhi_epi8,
    _mm256_unpacklo_epi8,
};
use std::cell::Cell;

use hardtack_format::encoding::{
    GROUP_COLUMNS, GROUP_QUADS, PANEL_ROWS, TILE_BIT_BYTES, TILE_HEAD_BYTES,
};
use hardtack_kernels::{Activations, PanelRows};

use crate::codes::{Inputs, RowSums, no_sums, panel_sums};
use crate::memory::{load_32_bytes, load_tile};

const VECTOR: usize = 32;
/// Quads whose fields are in one vector: two in its lanes' low halves of bytes, two in the high
/// ones.
const QUADS: usize = 4;

/// A group's tables, two quads to a vector: low bytes of the sums, and high bytes.
pub type Tables = [[[u8; VECTOR]; 2]; GROUP_QUADS / 2];

/// The sums of every choice among the inputs of each quad, for each group of one token.
pub fn tables(activations: &Activations<'_>) -> Vec<Tables> {
    let of_group = |inputs: &[i8; GROUP_COLUMNS]| {
        let mut tables = [[[0; VECTOR]; 2]; GROUP_QUADS / 2];
        for (quad, inputs) in inputs.as_chunks::<4>().0.iter().enumerate() {
            for choice in 0..16 {
                let chosen = (0..4).filter(|bit| choice >> bit & 1 == 1);
                let sum: i16 = chosen.map(|bit| i16::from(inputs[bit])).sum();
                let at = quad % 2 * 16 + choice;
                [tables[quad / 2][0][at], tables[quad / 2][1][at]] = sum.to_le_bytes();
            }
        }
        tables
    };
    let (codes, ..) = activations.token_codes(0);
    codes.as_chunks().0.iter().map(of_group).collect()
}

/// Multiplies a panel with one token. A tile has a plane for each bit, the lowest first, of four
/// vectors: bytes are rows, and halves of bytes and lanes quads.
#[target_feature(enable = "avx2,fma,f16c")]
pub fn panel<const TILE_BYTES: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    tables: &[Tables],
    out: &mut PanelRows,
) {
    let group = Cell::new(0);
    let one = |tile: &[u8; TILE_BYTES], _: Inputs<'_, 1>| {
        let tables = &tables[group.get()];
        group.set(group.get() + 1);
        sums(tile, tables)
    };
    panel_sums(
        panel,
        activations,
        0,
        core::slice::from_mut(out),
        |_, _| no_sums(),
        |_, _| no_sums(),
        one,
    );
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn sums<const TILE_BYTES: usize>(tile: &[u8; TILE_BYTES], tables: &Tables) -> RowSums<1> {
    let bits = (TILE_BYTES - TILE_HEAD_BYTES) / TILE_BIT_BYTES;
    // Of rows 0..8 and of rows 8..16, each lane its own quads.
    let mut all = [_mm256_setzero_si256(); 2];
    for bit in (0..bits).rev() {
        let mut plane = all.map(|sums| _mm256_slli_epi16::<1>(sums));
        for vector in 0..GROUP_QUADS / QUADS {
            let bytes = load_tile(tile, TILE_HEAD_BYTES + bit * TILE_BIT_BYTES + vector * VECTOR);
            let low = _mm256_set1_epi8(0x0f);
            let choices = [
                _mm256_and_si256(bytes, low),
                _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low),
            ];
            for (half, choices) in choices.into_iter().enumerate() {
                let [low, high] = tables[vector * 2 + half]
                    .map(|table| _mm256_shuffle_epi8(load_32_bytes(&table), choices));
                plane[0] = _mm256_add_epi16(plane[0], _mm256_unpacklo_epi8(low, high));
                plane[1] = _mm256_add_epi16(plane[1], _mm256_unpackhi_epi8(low, high));
            }
        }
        all = plane;
    }
    [all.map(|sums| widen(sums))]
}

/// The sums of both lanes in 32 bits.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn widen(sums: __m256i) -> __m256i {
    _mm256_cvtepi16_epi32(_mm_add_epi16(
        _mm256_castsi256_si128(sums),
        _mm256_extracti128_si256::<1>(sums),
    ))
}

/// One code of a tile, taken apart bit by bit.
pub fn code(tile: &[u8], bits: usize, row: usize, column: usize) -> i32 {
    let (quad, bit_of_quad) = (column / 4, column % 4);
    let (vector, half, lane) = (quad / QUADS, quad % QUADS / 2, quad % 2);
    let at = |bit: usize| {
        TILE_HEAD_BYTES + bit * TILE_BIT_BYTES + vector * VECTOR + lane * PANEL_ROWS + row
    };
    (0..bits).map(|bit| i32::from(tile[at(bit)] >> (half * 4 + bit_of_quad) & 1) << bit).sum()
}
