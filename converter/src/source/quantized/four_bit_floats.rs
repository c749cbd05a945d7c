//! Weights of four-bit floats, MXFP4 and NVFP4, as several formats name their tensors.

use super::super::{ElementKind, SourceError, TensorInfo};
use super::bits::{Codes, Order};
use super::grid::{Entries, Grid, Sharing};
use super::parts::Parts;
use super::scale_grid::whole_grid;
use super::values::Values;
use super::weight::{Grouped, Groups, Layout, Quantized, SecondScale, Shift};

/// A weight of four-bit floats, two to a byte, the first in the low half; one scale for 16 or 32 of
/// a row.
pub(super) fn four_bit_floats(
    parts: &Parts<'_>,
    weight: String,
    codes: TensorInfo,
    scale: TensorInfo,
    second: Option<(TensorInfo, SecondScale)>,
    method: &str,
) -> Result<Quantized, SourceError> {
    let mut shape = codes.shape.clone();
    let columns = 2 * codes.columns();
    if let Some(last) = shape.last_mut() {
        *last = columns;
    }
    let (name, length, values) = match scale.kind {
        ElementKind::U8 | ElementKind::F8E8M0 => ("MXFP4", 32, Values::e8m0()),
        ElementKind::F8E4M3 => ("NVFP4", 16, Values::e4m3()),
        _ => return Err(parts.wrong_kind(&scale, "scales as F8_E4M3 or powers of two")),
    };
    let groups = columns.div_ceil(length);
    parts.check_shape(&scale, &[&shape[..shape.len() - 1], &[groups]].concat())?;
    let rows = codes.rows();
    let scale_codes = Codes { tensor: scale, rows, columns: groups, bits: 8, order: Order::Along };
    let scales_of_scales = match second {
        None => None,
        Some((tensor, effect)) => Some((whole_grid(parts, &shape, tensor)?, effect)),
    };
    let layout = Grouped {
        codes: Codes { tensor: codes.clone(), rows, columns, bits: 4, order: Order::Along },
        values: Values::e2m1(),
        turned: false,
        scales: Grid {
            entries: Entries::Codes(scale_codes, values),
            groups,
            turned: false,
            sharing: Sharing::NONE,
        },
        scales_of_scales,
        shift: Shift::None,
        groups: Groups::Every(length),
    };
    let label = format!("{method}, {name}");
    Ok(Quantized { name: weight, shape, codes, label, layout: Layout::Grouped(Box::new(layout)) })
}
