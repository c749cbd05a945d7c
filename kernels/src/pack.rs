//! Numbers into panels and back: the layouts of `hardtack_format::encoding`, written out.

use half::{bf16, f16};
use hardtack_format::encoding::{Encoding, GROUP_COLUMNS, GROUP_QUADS, PANEL_ROWS, QUAD_COLUMNS};

/// Bytes of one plane vector: 16 rows times one quad.
const VECTOR_BYTES: usize = PANEL_ROWS * QUAD_COLUMNS;

/// The codes of one tile, row by row.
pub type TileCodes = [[u8; GROUP_COLUMNS]; PANEL_ROWS];

/// Writes one tile: `weight = scale * code + minimum`.
///
/// # Panics
/// If `out` is not one tile of this encoding, or a code does not fit its bits (checked in debug
/// builds).
pub fn pack_tile(
    encoding: Encoding,
    codes: &TileCodes,
    scales: &[f16; PANEL_ROWS],
    minima: &[f16; PANEL_ROWS],
    out: &mut [u8],
) {
    assert_eq!(out.len(), encoding.tile_bytes(), "one tile");
    out.fill(0);
    for row in 0..PANEL_ROWS {
        out[row * 2..row * 2 + 2].copy_from_slice(&scales[row].to_le_bytes());
        let at = PANEL_ROWS * 2 + row * 2;
        out[at..at + 2].copy_from_slice(&minima[row].to_le_bytes());
    }
    // The narrowest plane holds the code's highest bits.
    let mut shift = 0;
    for &(width, offset) in encoding.planes() {
        for (row, row_codes) in codes.iter().enumerate() {
            for (column, &code) in row_codes.iter().enumerate() {
                debug_assert!(
                    encoding.code_bits().is_some_and(|bits| u32::from(code) >> bits == 0),
                    "code {code}"
                );
                let (at, field) = place(width, row, column);
                out[offset + at] |= ((code >> shift) & mask(width)) << field;
            }
        }
        shift += width;
    }
}

/// Reads the codes of one tile.
///
/// # Panics
/// If `tile` is not one tile of this encoding.
pub fn unpack_tile(encoding: Encoding, tile: &[u8]) -> TileCodes {
    assert_eq!(tile.len(), encoding.tile_bytes(), "one tile");
    let mut codes = [[0; GROUP_COLUMNS]; PANEL_ROWS];
    let mut shift = 0;
    for &(width, offset) in encoding.planes() {
        for (row, row_codes) in codes.iter_mut().enumerate() {
            for (column, code) in row_codes.iter_mut().enumerate() {
                let (at, field) = place(width, row, column);
                *code |= ((tile[offset + at] >> field) & mask(width)) << shift;
            }
        }
        shift += width;
    }
    codes
}

/// Scale and minimum of one row of a tile.
pub fn tile_scale(tile: &[u8], row: usize) -> (f32, f32) {
    let half = |at: usize| f16::from_le_bytes([tile[at], tile[at + 1]]).to_f32();
    (half(row * 2), half(PANEL_ROWS * 2 + row * 2))
}

/// Byte of the plane, and lowest bit in it, of a row's column.
const fn place(width: u32, row: usize, column: usize) -> (usize, u32) {
    let quad = column / QUAD_COLUMNS;
    let vectors = GROUP_QUADS * width as usize / 8;
    let (vector, field) = (quad % vectors, quad / vectors);
    (vector * VECTOR_BYTES + row * QUAD_COLUMNS + column % QUAD_COLUMNS, field as u32 * width)
}

const fn mask(width: u32) -> u8 {
    (0xff_u16 >> (8 - width)) as u8
}

/// Writes one panel of floats from rows of `columns` numbers; rows that are absent become zero.
///
/// # Panics
/// If the encoding is not one of floats in panels, or the lengths do not agree.
pub fn pack_floats(encoding: Encoding, rows: &[f32], columns: usize, out: &mut [u8]) {
    assert_eq!(out.len() as u64, encoding.panel_bytes(columns as u32), "one panel");
    assert!(rows.len() <= PANEL_ROWS * columns && rows.len().is_multiple_of(columns), "whole rows");
    out.fill(0);
    for (row, values) in rows.chunks_exact(columns).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            let at = column * PANEL_ROWS + row;
            match encoding {
                Encoding::F32 => out[at * 4..at * 4 + 4].copy_from_slice(&value.to_le_bytes()),
                Encoding::F16 => {
                    out[at * 2..at * 2 + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes())
                }
                Encoding::Bf16 => {
                    out[at * 2..at * 2 + 2].copy_from_slice(&bf16::from_f32(value).to_le_bytes())
                }
                other => panic!("{} is not an encoding of floats in panels", other.name()),
            }
        }
    }
}

/// Reads one row out of a panel: what an embedding look-up does.
///
/// # Panics
/// If the panel is not one of this encoding with `out.len()` columns.
pub fn unpack_row(encoding: Encoding, panel: &[u8], row: usize, out: &mut [f32]) {
    assert_eq!(panel.len() as u64, encoding.panel_bytes(out.len() as u32), "one panel");
    assert!(row < PANEL_ROWS, "row of a panel");
    match encoding {
        Encoding::F32 => {
            for (column, value) in out.iter_mut().enumerate() {
                *value = float(panel, column * PANEL_ROWS + row);
            }
        }
        Encoding::F16 | Encoding::Bf16 => {
            for (column, value) in out.iter_mut().enumerate() {
                let at = (column * PANEL_ROWS + row) * 2;
                let bytes = [panel[at], panel[at + 1]];
                *value = if encoding == Encoding::F16 {
                    f16::from_le_bytes(bytes).to_f32()
                } else {
                    bf16::from_le_bytes(bytes).to_f32()
                };
            }
        }
        _ => {
            let tiles = panel.chunks_exact(encoding.tile_bytes());
            for (tile, values) in tiles.zip(out.chunks_mut(GROUP_COLUMNS)) {
                let (scale, minimum) = tile_scale(tile, row);
                for (column, value) in values.iter_mut().enumerate() {
                    *value = scale * f32::from(code(encoding, tile, row, column)) + minimum;
                }
            }
        }
    }
}

fn code(encoding: Encoding, tile: &[u8], row: usize, column: usize) -> u8 {
    let (mut code, mut shift) = (0, 0);
    for &(width, offset) in encoding.planes() {
        let (at, field) = place(width, row, column);
        code |= ((tile[offset + at] >> field) & mask(width)) << shift;
        shift += width;
    }
    code
}

/// The float with this number in a row of little-endian floats.
pub(crate) fn float(bytes: &[u8], index: usize) -> f32 {
    let at = index * 4;
    f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn codes_come_back_from_tiles() {
        for encoding in Encoding::MATRICES {
            let Some(bits) = encoding.code_bits() else { continue };
            let mut codes = [[0; GROUP_COLUMNS]; PANEL_ROWS];
            for (row, values) in codes.iter_mut().enumerate() {
                for (column, value) in values.iter_mut().enumerate() {
                    *value = ((row * 37 + column * 11 + row * column) % (1 << bits)) as u8;
                }
            }
            let scales = core::array::from_fn(|row| f16::from_f32(row as f32 + 0.5));
            let minima = core::array::from_fn(|row| f16::from_f32(-(row as f32)));
            let mut tile = vec![0xaa; encoding.tile_bytes()];
            pack_tile(encoding, &codes, &scales, &minima, &mut tile);
            assert_eq!(unpack_tile(encoding, &tile), codes, "{}", encoding.name());
            let mut row = [0.0; GROUP_COLUMNS];
            unpack_row(encoding, &tile, 3, &mut row);
            for (column, value) in row.into_iter().enumerate() {
                assert_eq!(value, 3.5 * f32::from(codes[3][column]) - 3.0);
            }
        }
    }

    #[test]
    fn quads_sit_in_lanes() {
        // Four columns of one row are four neighbouring bytes (SPEC.md, tiles).
        for width in [1, 2, 4, 8] {
            for quad in 0..GROUP_QUADS {
                let (first, field) = place(width, 5, quad * 4);
                for column in 1..4 {
                    assert_eq!(place(width, 5, quad * 4 + column), (first + column, field));
                }
            }
        }
    }
}
