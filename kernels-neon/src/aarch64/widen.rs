//! A column of a panel, as floats.

use std::arch::aarch64::*;

use hardtack_format::encoding::PANEL_ROWS;

use super::floats::Column;
use super::lanes::{load_bytes, load_f16_bytes};

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn f32(column: &[u8; PANEL_ROWS * 4]) -> Column {
    let rows: &[_; 4] = column.as_chunks().0.as_array().expect("16 rows");
    rows.map(|rows| vreinterpretq_f32_u8(load_bytes(&rows)))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn f16(column: &[u8; PANEL_ROWS * 2]) -> Column {
    let rows: &[_; 4] = column.as_chunks().0.as_array().expect("16 rows");
    rows.map(|rows| load_f16_bytes(&rows))
}

/// A bfloat16 is the upper half of a float.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn bf16(column: &[u8; PANEL_ROWS * 2]) -> Column {
    let rows: &[_; 2] = column.as_chunks().0.as_array().expect("16 rows");
    let [a, b] = rows.map(|rows| vreinterpretq_u16_u8(load_bytes(&rows)));
    let low = |bits| vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(bits)));
    let high = |bits| vreinterpretq_f32_u32(vshll_high_n_u16::<16>(bits));
    [low(a), high(a), low(b), high(b)]
}
