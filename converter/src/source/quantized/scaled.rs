//! Codes of a byte under scales: floats of eight bits and integers, with one scale for the whole
//! weight, for a row, or for a block of it (`weight_scale_inv` of DeepSeek and Qwen), and
//! ModelOpt's four-bit floats.
//!
//! The scale multiplies whatever it is called: `weight_scale_inv` is the inverse of what the
//! quantizer multiplied by.

use super::super::{ElementKind, SourceError, TensorInfo};
use super::bits::{Codes, Order};
use super::four_bit_floats::four_bit_floats;
use super::grid::{Entries, Grid, is_numbers};
use super::parts::Parts;
use super::scale_grid::scale_grid;
use super::settings::Settings;
use super::values::Values;
use super::weight::{Grouped, Groups, Layout, Quantized, SecondScale, Shift};

/// The weight of `NAME_scale` or `NAME_scale_inv`.
pub(super) fn find(
    name: &str,
    parts: &mut Parts<'_>,
    settings: &Settings,
) -> Result<Option<Quantized>, SourceError> {
    let Some(weight) = name.strip_suffix("_scale_inv").or_else(|| name.strip_suffix("_scale"))
    else {
        return Ok(None);
    };
    let Some(values) = parts.get(weight).and_then(|weight| values(weight.kind)) else {
        return Ok(None);
    };
    let Some(codes) = parts.take(weight) else { return Ok(None) };
    let scale = parts.take_for(&codes, name)?;
    if codes.shape.len() < 2 {
        return Err(parts.wrong_kind(&codes, "a matrix beside a scale"));
    }
    let Some(values) = values else {
        let second = parts
            .take(&format!("{weight}_scale_2"))
            .map(|second| (second, SecondScale::Multiplies));
        return four_bit_floats(parts, weight.to_owned(), codes, scale, second, "ModelOpt")
            .map(Some);
    };
    let (scales, length) = scale_grid(parts, &codes.shape, scale, settings.block())?;
    let shift = match parts.take(&format!("{weight}_zero_point")) {
        None => Shift::None,
        Some(zero) => Shift::Zero(zero_grid(parts, zero, &scales)?),
    };
    let columns = codes.columns();
    let layout = Grouped {
        codes: Codes {
            tensor: codes.clone(),
            rows: codes.rows(),
            columns,
            bits: 8,
            order: Order::Along,
        },
        values,
        turned: false,
        scales,
        scales_of_scales: None,
        shift,
        groups: Groups::Every(length),
    };
    Ok(Some(Quantized {
        name: weight.to_owned(),
        shape: codes.shape.clone(),
        label: format!("{} with scales", codes.kind),
        codes,
        layout: Layout::Grouped(Box::new(layout)),
    }))
}

/// What codes of this kind mean: `Some(None)` where two of them share a byte.
fn values(kind: ElementKind) -> Option<Option<Values>> {
    match kind {
        ElementKind::F8E4M3 => Some(Some(Values::e4m3())),
        ElementKind::F8E5M2 => Some(Some(Values::e5m2())),
        ElementKind::F8E4M3Fnuz => Some(Some(Values::e4m3_fnuz())),
        ElementKind::F8E5M2Fnuz => Some(Some(Values::e5m2_fnuz())),
        ElementKind::I8 => Some(Some(Values::signed())),
        ElementKind::U8 => Some(None),
        _ => None,
    }
}

/// Zero points, which are stored as the scales are.
fn zero_grid(parts: &Parts<'_>, tensor: TensorInfo, scales: &Grid) -> Result<Grid, SourceError> {
    let count = match &scales.entries {
        Entries::Numbers(scales) => scales.elements(),
        Entries::Codes(codes, _) => codes.tensor.elements(),
    };
    if tensor.elements() != count {
        return Err(parts.wrong_kind(&tensor, &format!("{count} zero points, as many as scales")));
    }
    let entries = match tensor.kind {
        ElementKind::I8 => {
            let (rows, columns) = (count / scales.groups, scales.groups);
            Entries::Codes(
                Codes { tensor, rows, columns, bits: 8, order: Order::Along },
                Values::signed(),
            )
        }
        kind if is_numbers(kind) => Entries::Numbers(tensor),
        _ => return Err(parts.wrong_kind(&tensor, "zero points as I8")),
    };
    Ok(Grid { entries, ..scales.clone() })
}
