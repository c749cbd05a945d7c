//! Codes of a byte under scales: floats of eight bits and integers, with one scale for the whole
//! weight, for a row, or for a block of it (`weight_scale_inv` of DeepSeek and Qwen), and
//! ModelOpt's four-bit floats.
//!
//! The scale multiplies whatever it is called: `weight_scale_inv` is the inverse of what the
//! quantizer multiplied by.

use super::super::{ElementKind, SourceError, TensorInfo};
use super::bits::{Codes, Order};
use super::compressed::four_bit_floats;
use super::grid::{Entries, Grid, Sharing, is_numbers};
use super::parts::Parts;
use super::settings::Settings;
use super::values::Values;
use super::{Grouped, Groups, Layout, Quantized, SecondScale, Shift};

/// Length of a side of a block where neither the configuration nor the shapes say (DeepSeek-V3's).
const BLOCK: usize = 128;

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

/// A grid of scales for a weight of this shape, and how many columns share one. `block` is used
/// where it fits.
pub(super) fn scale_grid(
    parts: &Parts<'_>,
    shape: &[usize],
    tensor: TensorInfo,
    block: Option<[usize; 2]>,
) -> Result<(Grid, usize), SourceError> {
    let [leading @ .., rows, columns] = shape else {
        return Err(parts.wrong_kind(&tensor, "a matrix beside it"));
    };
    let (rows, columns) = (*rows, *columns);
    let own = &tensor.shape[..];
    let fit = if tensor.elements() == 1 {
        whole_grid(parts, shape, tensor.clone()).ok().map(|grid| (grid, columns))
    } else if let [outer @ .., row_count, column_count] = own
        && outer == leading
        && let Some(each) = step(rows, *row_count, block.map(|block| block[0]))
        && let Some(length) = step(columns, *column_count, block.map(|block| block[1]))
    {
        let sharing = Sharing { matrix_rows: rows, each };
        entries(&tensor, *column_count).map(|entries| {
            (Grid { entries, groups: *column_count, turned: false, sharing }, length)
        })
    } else {
        let matrices: usize = leading.iter().product();
        let each = if tensor.elements() == matrices * rows {
            Some(1)
        } else if !leading.is_empty() && tensor.elements() == matrices {
            Some(rows)
        } else {
            None
        };
        let grid = |each| {
            let sharing = Sharing { matrix_rows: rows, each };
            Some(Grid { entries: entries(&tensor, 1)?, groups: 1, turned: false, sharing })
        };
        each.and_then(grid).map(|grid| (grid, columns))
    };
    fit.ok_or_else(|| {
        parts.wrong_kind(&tensor, &format!("scales for the whole, the rows or blocks of {shape:?}"))
    })
}

/// One number for a whole weight of this shape.
pub(super) fn whole_grid(
    parts: &Parts<'_>,
    shape: &[usize],
    tensor: TensorInfo,
) -> Result<Grid, SourceError> {
    let rows: usize = shape[..shape.len() - 1].iter().product();
    let matrix_rows = shape[shape.len() - 2];
    let sharing = match tensor.elements() {
        1 => Sharing { matrix_rows: rows, each: rows },
        count if count * matrix_rows == rows => Sharing { matrix_rows, each: matrix_rows },
        _ => return Err(parts.wrong_kind(&tensor, "one number")),
    };
    match entries(&tensor, 1) {
        Some(entries) => Ok(Grid { entries, groups: 1, turned: false, sharing }),
        None => Err(parts.wrong_kind(&tensor, "one number")),
    }
}

/// Numbers, or powers of two in bytes, `groups` to a row.
fn entries(tensor: &TensorInfo, groups: usize) -> Option<Entries> {
    match tensor.kind {
        kind if is_numbers(kind) => Some(Entries::Numbers(tensor.clone())),
        ElementKind::U8 => {
            let (rows, columns) = (tensor.elements() / groups, groups);
            let codes =
                Codes { tensor: tensor.clone(), rows, columns, bits: 8, order: Order::Along };
            Some(Entries::Codes(codes, Values::e8m0()))
        }
        _ => None,
    }
}

/// How many of `length` share each of `entries`: what the configuration says where that fits.
fn step(length: usize, entries: usize, configured: Option<usize>) -> Option<usize> {
    let even = length.is_multiple_of(entries).then(|| length / entries);
    let blocks = (entries > 1 && entries < length).then_some(BLOCK);
    let candidates = [
        configured,
        (entries == length).then_some(1),
        (entries == 1).then_some(length),
        blocks,
        even,
    ];
    candidates.into_iter().flatten().find(|step| *step > 0 && length.div_ceil(*step) == entries)
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
