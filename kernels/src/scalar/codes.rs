//! Panels of integer codes times int8 activations.

use hardtack_format::encoding::{Encoding, GROUP_COLUMNS};

use crate::activations::Activations;
use crate::pack::{tile_scale, unpack_tile};
use crate::table::PanelRows;

pub(super) fn panel_q1(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    panel_codes(Encoding::Q1, panel, activations, first_token, out);
}

pub(super) fn panel_q2(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    panel_codes(Encoding::Q2, panel, activations, first_token, out);
}

pub(super) fn panel_q3(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    panel_codes(Encoding::Q3, panel, activations, first_token, out);
}

pub(super) fn panel_q4(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    panel_codes(Encoding::Q4, panel, activations, first_token, out);
}

pub(super) fn panel_q5(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    panel_codes(Encoding::Q5, panel, activations, first_token, out);
}

pub(super) fn panel_q6(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    panel_codes(Encoding::Q6, panel, activations, first_token, out);
}

pub(super) fn panel_q8(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    panel_codes(Encoding::Q8, panel, activations, first_token, out);
}

fn panel_codes(
    encoding: Encoding,
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    assert_eq!(panel.len(), activations.groups() * encoding.tile_bytes(), "one panel");
    out.fill([0.0; 16]);
    for (group, tile) in panel.chunks_exact(encoding.tile_bytes()).enumerate() {
        let weights = unpack_tile(encoding, tile);
        for (token, rows) in out.iter_mut().enumerate() {
            let (codes, scales, sums) = activations.token_codes(first_token + token);
            let inputs = &codes[group * GROUP_COLUMNS..(group + 1) * GROUP_COLUMNS];
            for (row, sum) in rows.iter_mut().enumerate() {
                let products = weights[row]
                    .iter()
                    .zip(inputs)
                    .map(|(&weight, &input)| i32::from(weight) * i32::from(input));
                let code_sum: i32 = products.sum();
                let (scale, minimum) = tile_scale(tile, row);
                *sum += (code_sum as f32 * scales[group]) * scale + sums[group] * minimum;
            }
        }
    }
}
