//! Panels of half floats times activations.

use hardtack_format::encoding::PANEL_ROWS;
use hardtack_kernels::{Activations, PanelRows};

use super::floats::{self, Column};
use super::lanes::load_f16_bytes;

const COLUMN_BYTES: usize = PANEL_ROWS * 2;

#[target_feature(enable = "neon")]
pub(super) fn neon(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    floats::panel::<COLUMN_BYTES>(panel, activations, first_token, out, |column| widen(column));
}

#[inline]
#[target_feature(enable = "neon")]
fn widen(column: &[u8; COLUMN_BYTES]) -> Column {
    let rows: &[_; 4] = column.as_chunks().0.as_array().expect("16 rows");
    rows.map(|rows| load_f16_bytes(&rows))
}
