//! MLX: `weight` in 32-bit words, `scales`, and for integer codes `biases`, one of each for a group
//! of a row's columns.
//!
//! Codes of a row are one stream of bits, whatever their width. A weight may be a stack of
//! matrices.

use super::super::{ElementKind, SourceError, TensorInfo};
use super::bits::{Codes, Order};
use super::grid::{Entries, Grid, Sharing, is_numbers};
use super::parts::Parts;
use super::settings::Settings;
use super::values::Values;
use super::weight::{Grouped, Groups, Layout, Quantized, Shift};

const WORD_BITS: usize = 32;

/// The weight of `NAME.scales`.
pub(super) fn find(
    name: &str,
    parts: &mut Parts<'_>,
    settings: &Settings,
) -> Result<Option<Quantized>, SourceError> {
    let Some(module) = name.strip_suffix(".scales") else { return Ok(None) };
    let weight = format!("{module}.weight");
    if parts.get(&weight).is_none_or(|weight| weight.kind != ElementKind::U32) {
        return Ok(None);
    }
    let Some(codes) = parts.take(&weight) else { return Ok(None) };
    let scales = parts.take_for(&codes, name)?;
    let missing = || SourceError::Quantization {
        file: settings.file.clone(),
        setting: "quantization".into(),
        found: format!("without group_size and bits, beside a tensor {name}"),
        known: "the settings that mlx_lm.convert writes".into(),
    };
    let (length, bits, mode) = settings.of_module(module).ok_or_else(missing)?;
    let (values, scale_values) = match mode {
        "affine" => (Values::unsigned(), None),
        "mxfp4" => (Values::e2m1(), Some(Values::e8m0())),
        "nvfp4" => (Values::e2m1(), Some(Values::e4m3())),
        "mxfp8" => (Values::e4m3(), Some(Values::e8m0())),
        _ => {
            return Err(SourceError::Quantization {
                file: settings.file.clone(),
                setting: "quantization.mode".into(),
                found: mode.to_owned(),
                known: "affine, mxfp4, mxfp8, nvfp4".into(),
            });
        }
    };
    if !(1..=8).contains(&bits) || length == 0 {
        return Err(missing());
    }
    let columns = codes.columns() * WORD_BITS / bits;
    let groups = columns / length;
    let mut shape = codes.shape.clone();
    if let Some(last) = shape.last_mut() {
        *last = groups;
    }
    let whole =
        groups * length == columns && columns * bits == codes.columns() * WORD_BITS && groups > 0;
    if !whole || scales.shape != shape {
        let expected = format!("groups of {length} codes of {bits} bits, {shape:?}");
        return Err(parts.wrong(&scales, ": shape", expected, format!("{:?}", scales.shape)));
    }
    let rows = codes.rows();
    let grid = |entries| Grid { entries, groups, turned: false, sharing: Sharing::NONE };
    let numbers = |parts: &Parts<'_>, tensor: TensorInfo| match is_numbers(tensor.kind) {
        true => Ok(grid(Entries::Numbers(tensor))),
        false => Err(parts.wrong_kind(&tensor, "floats")),
    };
    let (scales, shift) = match scale_values {
        None => {
            let offsets = parts.take_for(&codes, &format!("{module}.biases"))?;
            parts.check_shape(&offsets, &shape)?;
            (numbers(parts, scales)?, Shift::Offset(numbers(parts, offsets)?))
        }
        Some(_) if scales.kind != ElementKind::U8 => return Err(parts.wrong_kind(&scales, "bytes")),
        Some(values) => {
            let codes =
                Codes { tensor: scales, rows, columns: groups, bits: 8, order: Order::Along };
            (grid(Entries::Codes(codes, values)), Shift::None)
        }
    };
    if let Some(last) = shape.last_mut() {
        *last = columns;
    }
    let layout = Grouped {
        codes: Codes { tensor: codes.clone(), rows, columns, bits, order: Order::Along },
        values,
        turned: false,
        scales,
        scales_of_scales: None,
        shift,
        groups: Groups::Every(length),
    };
    let label = if mode == "affine" { format!("MLX, {bits} bits") } else { format!("MLX, {mode}") };
    Ok(Some(Quantized {
        name: weight,
        shape,
        codes,
        label,
        layout: Layout::Grouped(Box::new(layout)),
    }))
}
