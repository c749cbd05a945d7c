//! Panels of bfloat16 times activations.

use std::arch::aarch64::*;

use hardtack_format::encoding::PANEL_ROWS;
use hardtack_kernels::{Activations, PanelRows};

use super::floats::{self, Column};
use super::lanes::load_bytes;

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
    let rows: &[_; 2] = column.as_chunks().0.as_array().expect("16 rows");
    let [a, b] = rows.map(|rows| vreinterpretq_u16_u8(load_bytes(&rows)));
    // A bfloat16 is the upper half of a float.
    let low = |bits| vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(bits)));
    let high = |bits| vreinterpretq_f32_u32(vshll_high_n_u16::<16>(bits));
    [low(a), high(a), low(b), high(b)]
}
