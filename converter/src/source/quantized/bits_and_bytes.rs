//! bitsandbytes: four bits in blocks that take no notice of rows, with scales that may be quantized
//! themselves, and eight bits with a scale for each row.

use serde::Deserialize;

use super::super::error::one_line;
use super::super::{ElementKind, SourceError, TensorInfo};
use super::bits::{Codes, Order};
use super::blocks::{Blocks, CODES, Scales};
use super::grid::{Entries, Grid, Sharing};
use super::parts::Parts;
use super::settings::Settings;
use super::values::Values;
use super::weight::{Grouped, Groups, Layout, Quantized, Shift};

/// After it comes the name of the codes, `nf4` or `fp4`.
const STATE: &str = ".quant_state.bitsandbytes__";
/// The state is a few hundred bytes of JSON.
const STATE_BYTES_MAX: u64 = 1 << 16;

/// What a state says; the rest is known from the tensors.
#[derive(Deserialize)]
struct State {
    blocksize: usize,
    shape: Vec<usize>,
    nested_blocksize: Option<usize>,
    nested_offset: Option<f32>,
}

/// The weight of a state `NAME.quant_state.bitsandbytes__nf4`.
pub(super) fn find_four_bits(
    name: &str,
    parts: &mut Parts<'_>,
    _: &Settings,
) -> Result<Option<Quantized>, SourceError> {
    let Some((weight, kind)) = name.split_once(STATE) else { return Ok(None) };
    let Some(state) = parts.take(name) else { return Ok(None) };
    let own = parsed(parts, &state)?;
    let codes = parts.take_for(&state, weight)?;
    let absmax = parts.take_for(&state, &format!("{weight}.absmax"))?;
    let values = parts.take_for(&state, &format!("{weight}.quant_map"))?;

    let count = own.shape.iter().try_fold(1usize, |product, length| product.checked_mul(*length));
    let count = count.filter(|count| *count > 0 && !own.shape.is_empty());
    let count =
        count.ok_or_else(|| wrong_state(parts, &state, "a shape whose numbers fit in memory"))?;
    if own.blocksize == 0 {
        return Err(wrong_state(parts, &state, "blocks of at least one number"));
    }
    if codes.bytes != count.div_ceil(2) as u64 {
        let expected = format!("{} bytes for {:?}", count.div_ceil(2), own.shape);
        return Err(parts.wrong(&codes, "", expected, format!("{} bytes", codes.bytes)));
    }
    let blocks = count.div_ceil(own.blocksize);
    of_kind(parts, &values, ElementKind::F32, CODES)?;
    let scales = match own.nested_blocksize {
        None => {
            of_kind(parts, &absmax, ElementKind::F32, blocks)?;
            Scales::Plain(absmax)
        }
        Some(0) => return Err(wrong_state(parts, &state, "nested blocks of at least one number")),
        Some(length) => {
            of_kind(parts, &absmax, ElementKind::U8, blocks)?;
            let scales = parts.take_for(&state, &format!("{weight}.nested_absmax"))?;
            let values = parts.take_for(&state, &format!("{weight}.nested_quant_map"))?;
            of_kind(parts, &scales, ElementKind::F32, blocks.div_ceil(length))?;
            of_kind(parts, &values, ElementKind::F32, 256)?;
            let offset = own.nested_offset.unwrap_or(0.0);
            Scales::Nested { codes: absmax, values, scales, length, offset }
        }
    };
    Ok(Some(Quantized {
        name: weight.to_owned(),
        shape: own.shape,
        codes: codes.clone(),
        label: format!("bitsandbytes, {kind}"),
        layout: Layout::Blocks(Box::new(Blocks { codes, values, length: own.blocksize, scales })),
    }))
}

fn parsed(parts: &Parts<'_>, state: &TensorInfo) -> Result<State, SourceError> {
    if state.kind != ElementKind::U8 || state.bytes > STATE_BYTES_MAX {
        return Err(parts.wrong_kind(state, "a short JSON text in bytes"));
    }
    let bytes = parts.stored.bytes(state)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        parts.wrong(state, "", "its settings as JSON".into(), one_line(&error.to_string()))
    })
}

fn wrong_state(parts: &Parts<'_>, state: &TensorInfo, expected: &str) -> SourceError {
    parts.wrong(state, "", expected.to_owned(), "other settings".into())
}

fn of_kind(
    parts: &Parts<'_>,
    tensor: &TensorInfo,
    kind: ElementKind,
    count: usize,
) -> Result<(), SourceError> {
    if tensor.kind == kind && tensor.elements() == count {
        return Ok(());
    }
    Err(parts.wrong_kind(tensor, &format!("{kind} [{count}]")))
}

/// The weight of `NAME.SCB`, which is 127 times the scale of each row.
pub(super) fn find_eight_bits(
    name: &str,
    parts: &mut Parts<'_>,
    _: &Settings,
) -> Result<Option<Quantized>, SourceError> {
    let Some(module) = name.strip_suffix(".SCB") else { return Ok(None) };
    let Some(scales) = parts.take(name) else { return Ok(None) };
    let codes = parts.take_for(&scales, &format!("{module}.weight"))?;
    let [rows, columns] = codes.shape[..] else {
        return Err(parts.wrong_kind(&codes, "a matrix of I8"));
    };
    if codes.kind != ElementKind::I8 {
        return Err(parts.wrong_kind(&codes, "a matrix of I8"));
    }
    of_kind(parts, &scales, ElementKind::F32, rows)?;
    let layout = Grouped {
        codes: Codes { tensor: codes.clone(), rows, columns, bits: 8, order: Order::Along },
        values: Values::new(|code| f32::from(code as i8) / 127.0),
        turned: false,
        scales: Grid {
            entries: Entries::Numbers(scales),
            groups: 1,
            turned: false,
            sharing: Sharing::NONE,
        },
        scales_of_scales: None,
        shift: Shift::None,
        groups: Groups::Every(columns),
    };
    Ok(Some(Quantized {
        name: codes.name.clone(),
        shape: vec![rows, columns],
        codes,
        label: "bitsandbytes, int8".into(),
        layout: Layout::Grouped(Box::new(layout)),
    }))
}
