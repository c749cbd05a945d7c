//! Panels of floats times float activations.

use half::{bf16, f16};
use hardtack_format::encoding::{Encoding, PANEL_ROWS};

use crate::activations::Activations;
use crate::pack::float;
use crate::table::PanelRows;

pub(super) fn panel_f32(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    panel_floats(Encoding::F32, float, panel, activations, first_token, out);
}

pub(super) fn panel_f16(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    let weight = |bytes: &[u8], index: usize| {
        f16::from_le_bytes([bytes[index * 2], bytes[index * 2 + 1]]).to_f32()
    };
    panel_floats(Encoding::F16, weight, panel, activations, first_token, out);
}

pub(super) fn panel_bf16(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    let weight = |bytes: &[u8], index: usize| {
        bf16::from_le_bytes([bytes[index * 2], bytes[index * 2 + 1]]).to_f32()
    };
    panel_floats(Encoding::Bf16, weight, panel, activations, first_token, out);
}

fn panel_floats(
    encoding: Encoding,
    weight: impl Fn(&[u8], usize) -> f32,
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    assert_eq!(panel.len() as u64, encoding.panel_bytes(activations.columns as u32), "one panel");
    for (token, rows) in out.iter_mut().enumerate() {
        *rows = [0.0; PANEL_ROWS];
        for (column, &input) in activations.token_floats(first_token + token).iter().enumerate() {
            for (row, sum) in rows.iter_mut().enumerate() {
                *sum += weight(panel, column * PANEL_ROWS + row) * input;
            }
        }
    }
}
