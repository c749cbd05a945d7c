//! Rows of a matrix into panels of its encoding, the panels shared out over the threads.

use half::f16;
use hardtack_format::Encoding;
use hardtack_format::encoding::{GROUP_COLUMNS, PANEL_ROWS};
use hardtack_kernels::pack::{pack_floats, pack_tile};
use rayon::prelude::*;

use super::affine::{self, Group};

/// Weights that an encoding cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("row {row}: expected finite weights up to {largest_allowed} for {encoding}, found {found}")]
pub struct PanelError {
    /// The row, counted from the first one given.
    pub row: usize,
    /// The first weight that does not fit.
    pub found: f32,
    /// The largest magnitude that would.
    pub largest_allowed: f32,
    /// The encoding's name.
    pub encoding: &'static str,
}

/// Encodes whole rows of `columns` weights; a last panel that is not full is padded with zeros.
///
/// # Errors
/// A row has weights that the encoding cannot hold.
pub fn encode_rows(
    encoding: Encoding,
    rows: &[f32],
    columns: usize,
) -> Result<Vec<u8>, PanelError> {
    assert!(columns > 0 && rows.len().is_multiple_of(columns), "whole rows");
    check_range(encoding, rows, columns)?;
    let panel_bytes = encoding.panel_bytes(columns as u32) as usize;
    let panels = (rows.len() / columns).div_ceil(PANEL_ROWS);
    let mut bytes = vec![0; panels * panel_bytes];
    bytes.par_chunks_exact_mut(panel_bytes).zip(rows.par_chunks(PANEL_ROWS * columns)).for_each(
        |(panel, rows)| match encoding.code_bits() {
            Some(bits) => encode_codes(encoding, bits, rows, columns, panel),
            None => pack_floats(encoding, rows, columns, panel),
        },
    );
    Ok(bytes)
}

fn encode_codes(encoding: Encoding, bits: u32, rows: &[f32], columns: usize, panel: &mut [u8]) {
    let parts = rows.chunks_exact(columns).flat_map(|row| row.chunks(GROUP_COLUMNS));
    let groups: Vec<Group> = parts.map(|weights| affine::quantize(weights, bits)).collect();
    pack_panel(encoding, &groups, columns, panel);
}

/// Panels of the codes of whole rows, `[rows, groups of 64 columns]`.
pub(super) fn pack_groups(encoding: Encoding, groups: &[Group], columns: usize) -> Vec<u8> {
    let row_groups = columns.div_ceil(GROUP_COLUMNS);
    assert!(groups.len().is_multiple_of(row_groups), "whole rows");
    let panel_bytes = encoding.panel_bytes(columns as u32) as usize;
    let panels = (groups.len() / row_groups).div_ceil(PANEL_ROWS);
    let mut bytes = vec![0; panels * panel_bytes];
    for (panel, groups) in
        bytes.chunks_exact_mut(panel_bytes).zip(groups.chunks(PANEL_ROWS * row_groups))
    {
        pack_panel(encoding, groups, columns, panel);
    }
    bytes
}

fn pack_panel(encoding: Encoding, groups: &[Group], columns: usize, panel: &mut [u8]) {
    for (index, tile) in panel.chunks_exact_mut(encoding.tile_bytes()).enumerate() {
        let mut codes = [[0; GROUP_COLUMNS]; PANEL_ROWS];
        let (mut scales, mut minima) = ([f16::ZERO; PANEL_ROWS], [f16::ZERO; PANEL_ROWS]);
        for (row, row_groups) in groups.chunks_exact(columns.div_ceil(GROUP_COLUMNS)).enumerate() {
            let group = &row_groups[index];
            (codes[row], scales[row], minima[row]) = (group.codes, group.scale, group.minimum);
        }
        pack_tile(encoding, &codes, &scales, &minima, tile);
    }
}

/// Codes reach as far as f16, and so does f16; NaN and infinities fit nowhere.
pub(super) fn check_range(
    encoding: Encoding,
    rows: &[f32],
    columns: usize,
) -> Result<(), PanelError> {
    let largest_allowed = match encoding {
        Encoding::F32 | Encoding::Bf16 | Encoding::Plain => f32::MAX,
        _ => f16::MAX.to_f32(),
    };
    for (row, weights) in rows.chunks_exact(columns).enumerate() {
        if let Some(&found) =
            weights.iter().find(|weight| weight.is_nan() || weight.abs() > largest_allowed)
        {
            return Err(PanelError { row, found, largest_allowed, encoding: encoding.name() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_do_not_fit_are_refused() {
        for (encoding, bad) in [
            (Encoding::F32, f32::NAN),
            (Encoding::Bf16, f32::INFINITY),
            (Encoding::F16, 70_000.0),
            (Encoding::Q4, f32::NAN),
            (Encoding::Q8, -70_000.0),
        ] {
            let mut rows = vec![0.5; 6 * 8];
            assert!(encode_rows(encoding, &rows, 8).is_ok());
            rows[3 * 8 + 2] = bad;
            assert_eq!(encode_rows(encoding, &rows, 8).unwrap_err().row, 3, "{}", encoding.name());
        }
        assert!(encode_rows(Encoding::F32, &[70_000.0; 8], 8).is_ok());
    }
}
