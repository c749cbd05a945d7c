//! Weights as an encoding keeps them: what the blob's reader would return, without the packing
//! between.

use half::{bf16, f16};
use hardtack_format::Encoding;
use hardtack_format::encoding::GROUP_COLUMNS;
use rayon::prelude::*;

use super::affine;
use super::panel::{PanelError, check_range};

/// Replaces whole rows of `columns` weights by what their encoding makes of them.
///
/// # Errors
/// A row has weights that the encoding cannot hold.
pub fn round_trip(encoding: Encoding, rows: &mut [f32], columns: usize) -> Result<(), PanelError> {
    assert!(columns > 0 && rows.len().is_multiple_of(columns), "whole rows");
    check_range(encoding, rows, columns)?;
    match (encoding, encoding.code_bits()) {
        (_, Some(bits)) => rows.par_chunks_exact_mut(columns).for_each(|row| {
            row.chunks_mut(GROUP_COLUMNS).for_each(|weights| {
                let group = affine::quantize(weights, bits);
                let levels = affine::Levels::new(group.scale, group.minimum, bits);
                for (weight, code) in weights.iter_mut().zip(group.codes) {
                    *weight = levels.weight(code);
                }
            });
        }),
        (Encoding::F16, _) => {
            rows.iter_mut().for_each(|weight| *weight = f16::from_f32(*weight).to_f32())
        }
        (Encoding::Bf16, _) => {
            rows.iter_mut().for_each(|weight| *weight = bf16::from_f32(*weight).to_f32())
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hardtack_format::encoding::PANEL_ROWS;
    use hardtack_kernels::pack::unpack_row;

    use super::*;
    use crate::quantize::encode_rows;

    #[test]
    fn it_gives_what_the_blob_gives() {
        let (rows, columns) = (19, 150);
        let weights: Vec<f32> =
            (0..rows * columns).map(|index| ((index * 37 % 101) as f32 - 50.0) / 64.0).collect();
        for encoding in Encoding::MATRICES {
            let mut found = weights.clone();
            round_trip(encoding, &mut found, columns).expect("fits");
            let bytes = encode_rows(encoding, &weights, columns).expect("fits");
            let panels: Vec<&[u8]> =
                bytes.chunks_exact(encoding.panel_bytes(columns as u32) as usize).collect();
            for (row, found) in found.chunks_exact(columns).enumerate() {
                let mut expected = vec![0.0; columns];
                unpack_row(encoding, panels[row / PANEL_ROWS], row % PANEL_ROWS, &mut expected);
                assert_eq!(found, expected, "{}, row {row}", encoding.name());
            }
        }
    }
}
