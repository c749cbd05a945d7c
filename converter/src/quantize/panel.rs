//! Rows of a matrix into panels of its encoding, the panels shared out over the threads.

use half::f16;
use hardtack_format::Encoding;
use hardtack_format::encoding::{GROUP_COLUMNS, PANEL_ROWS};
use hardtack_kernels::pack::{pack_floats, pack_tile};
use rayon::prelude::*;

use super::affine;

/// Weights that an encoding cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("row {row}: weights up to {largest} do not fit {encoding}, whose largest number is 65504")]
pub struct PanelError {
    /// The row, counted from the first one given.
    pub row: usize,
    /// The largest magnitude in it.
    pub largest: f32,
    /// The encoding's name.
    pub encoding: &'static str,
}

/// Encodes whole rows of `columns` weights; a last panel that is not full is padded with zeros.
///
/// # Errors
/// A row has weights that the encoding cannot hold.
pub fn encode_rows(encoding: Encoding, rows: &[f32], columns: usize) -> Result<Vec<u8>, PanelError> {
    assert!(columns > 0 && rows.len().is_multiple_of(columns), "whole rows");
    check_range(encoding, rows, columns)?;
    let panel_bytes = encoding.panel_bytes(columns as u32) as usize;
    let panels = (rows.len() / columns).div_ceil(PANEL_ROWS);
    let mut bytes = vec![0; panels * panel_bytes];
    bytes.par_chunks_exact_mut(panel_bytes).zip(rows.par_chunks(PANEL_ROWS * columns)).for_each(|(panel, rows)| {
        match encoding.code_bits() {
            Some(bits) => encode_codes(encoding, bits, rows, columns, panel),
            None => pack_floats(encoding, rows, columns, panel),
        }
    });
    Ok(bytes)
}

fn encode_codes(encoding: Encoding, bits: u32, rows: &[f32], columns: usize, panel: &mut [u8]) {
    for (index, tile) in panel.chunks_exact_mut(encoding.tile_bytes()).enumerate() {
        let first = index * GROUP_COLUMNS;
        let last = columns.min(first + GROUP_COLUMNS);
        let mut codes = [[0; GROUP_COLUMNS]; PANEL_ROWS];
        let (mut scales, mut minima) = ([f16::ZERO; PANEL_ROWS], [f16::ZERO; PANEL_ROWS]);
        for (row, weights) in rows.chunks_exact(columns).enumerate() {
            let group = affine::quantize(&weights[first..last], bits);
            (codes[row], scales[row], minima[row]) = (group.codes, group.scale, group.minimum);
        }
        pack_tile(encoding, &codes, &scales, &minima, tile);
    }
}

/// Codes and half floats reach as far as half floats do.
fn check_range(encoding: Encoding, rows: &[f32], columns: usize) -> Result<(), PanelError> {
    if matches!(encoding, Encoding::F32 | Encoding::Bf16 | Encoding::Plain) {
        return Ok(());
    }
    for (row, weights) in rows.chunks_exact(columns).enumerate() {
        let largest = weights.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
        if largest > f16::MAX.to_f32() {
            return Err(PanelError { row, largest, encoding: encoding.name() });
        }
    }
    Ok(())
}
