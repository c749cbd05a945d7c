//! compressed-tensors' packed formats: `weight_packed` with integers of one to eight bits, or with
//! four-bit floats.
//!
//! Integers are stored around the middle of their range, in 32-bit words along the inputs; zero
//! points alike, along the outputs. Older releases left the rest of a word unused where a width
//! does not divide 32; shapes tell which. Four-bit floats come two to a byte, with scales in floats
//! of eight bits (NVFP4, under one more scale by which they are divided) or as powers of two
//! (MXFP4).

use super::super::{ElementKind, SourceError, TensorInfo};
use super::bits::{Codes, Order};
use super::four_bit_floats::four_bit_floats;
use super::grid::{Entries, Grid, Sharing, is_numbers};
use super::parts::Parts;
use super::scale_grid::scale_grid;
use super::settings::Settings;
use super::values::Values;
use super::weight::{Grouped, Groups, Layout, Quantized, SecondScale, Shift};

const WORD_BITS: usize = 32;

/// The weight whose codes are `NAME_packed`.
pub(super) fn find(
    name: &str,
    parts: &mut Parts<'_>,
    settings: &Settings,
) -> Result<Option<Quantized>, SourceError> {
    let Some(weight) = name.strip_suffix("_packed") else { return Ok(None) };
    let scale = format!("{weight}_scale");
    if parts.get(&scale).is_none() {
        return Ok(None);
    }
    let Some(codes) = parts.take(name) else { return Ok(None) };
    parts.check_free(weight, &codes)?;
    let scale = parts.take_for(&codes, &scale)?;
    let own = Own { weight: weight.to_owned(), codes, scale };
    match own.codes.kind {
        ElementKind::U8 if own.codes.shape.len() >= 2 => own.floats(parts).map(Some),
        ElementKind::I32 if own.codes.shape.len() >= 2 => own.integers(parts, settings).map(Some),
        _ => Err(parts.wrong_kind(&own.codes, "a matrix of I32, or of bytes")),
    }
}

struct Own {
    weight: String,
    codes: TensorInfo,
    scale: TensorInfo,
}

impl Own {
    fn integers(
        self,
        parts: &mut Parts<'_>,
        settings: &Settings,
    ) -> Result<Quantized, SourceError> {
        let Self { weight, codes, scale } = self;
        let shape_tensor = parts.take_for(&codes, &format!("{weight}_shape"))?;
        let shape = read_shape(parts, &shape_tensor)?;
        let (leading, columns) = (&shape[..shape.len() - 1], shape[shape.len() - 1]);
        let words = codes.columns();
        let Some((bits, order)) = packing(columns, words, &settings.packed_bits()) else {
            let expected = format!("words for {columns} codes of 1 to 8 bits");
            return Err(parts.wrong(&codes, ": shape", expected, format!("{:?}", codes.shape)));
        };
        parts.check_shape(&codes, &[leading, &[words]].concat())?;
        let (scales, length) = scale_grid(parts, &shape, scale, None)?;
        let rows = codes.rows();
        let zero = parts.take(&format!("{weight}_zero_point"));
        let shift = match zero {
            None => Shift::None,
            Some(zero) => Shift::Zero(zero_grid(parts, zero, rows, scales.groups, bits, order)?),
        };
        let listed = parts.take(&format!("{weight}_g_idx"));
        let groups = match listed {
            None => Groups::Every(length),
            Some(listed) if listed.kind == ElementKind::I32 && listed.elements() == columns => {
                Groups::Listed(listed, length)
            }
            Some(listed) => {
                return Err(parts.wrong_kind(&listed, &format!("groups as I32 [{columns}]")));
            }
        };
        let layout = Grouped {
            codes: Codes { tensor: codes.clone(), rows, columns, bits, order },
            values: Values::around_the_middle(bits),
            turned: false,
            scales,
            scales_of_scales: None,
            shift,
            groups,
        };
        let label = format!("compressed-tensors, {bits} bits");
        Ok(Quantized {
            name: weight,
            shape,
            codes,
            label,
            layout: Layout::Grouped(Box::new(layout)),
        })
    }

    fn floats(self, parts: &mut Parts<'_>) -> Result<Quantized, SourceError> {
        let Self { weight, codes, scale } = self;
        let global = parts.take(&format!("{weight}_global_scale"));
        let second = global.map(|global| (global, SecondScale::Divides));
        four_bit_floats(parts, weight, codes, scale, second, "compressed-tensors")
    }
}

/// Bits and order that make this many words. Widths that the configuration names are tried first.
fn packing(columns: usize, words: usize, named: &[usize]) -> Option<(usize, Order)> {
    let known = named.iter().copied().filter(|bits| (1..=8).contains(bits));
    known.chain(1..=8).find_map(|bits| {
        if words == (columns * bits).div_ceil(WORD_BITS) {
            Some((bits, Order::Along))
        } else if words == columns.div_ceil(WORD_BITS / bits) {
            Some((bits, Order::AlongWhole))
        } else {
            None
        }
    })
}

/// Zero points: packed along the rows where the codes are packed, or whole bytes.
fn zero_grid(
    parts: &Parts<'_>,
    tensor: TensorInfo,
    rows: usize,
    groups: usize,
    bits: usize,
    order: Order,
) -> Result<Grid, SourceError> {
    let own = match tensor.kind {
        ElementKind::I8 => {
            parts.check_shape(&tensor, &[rows, groups])?;
            let codes = Codes { tensor, rows, columns: groups, bits: 8, order: Order::Along };
            Entries::Codes(codes, Values::signed())
        }
        ElementKind::I32 => {
            let each = WORD_BITS / bits;
            let (words, order) = match order {
                Order::AlongWhole => (rows.div_ceil(each), Order::DownWhole),
                _ => ((rows * bits).div_ceil(WORD_BITS), Order::Down),
            };
            parts.check_shape(&tensor, &[words, groups])?;
            let codes = Codes { tensor, rows, columns: groups, bits, order };
            Entries::Codes(codes, Values::around_the_middle(bits))
        }
        kind if is_numbers(kind) => {
            parts.check_shape(&tensor, &[rows, groups])?;
            Entries::Numbers(tensor)
        }
        _ => return Err(parts.wrong_kind(&tensor, "zero points as I32 or I8")),
    };
    Ok(Grid { entries: own, groups, turned: false, sharing: Sharing::NONE })
}

/// The shape of a weight, which its packed codes do not tell.
fn read_shape(parts: &Parts<'_>, tensor: &TensorInfo) -> Result<Vec<usize>, SourceError> {
    let wrong = || parts.wrong_kind(tensor, "2 or 3 lengths as I64 or I32, all of at least 1");
    if !(2..=3).contains(&tensor.elements()) {
        return Err(wrong());
    }
    let bytes = parts.stored.bytes(tensor)?;
    let lengths: Vec<i64> = match tensor.kind {
        ElementKind::I64 => {
            bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
        }
        ElementKind::I32 => {
            bytes.as_chunks().0.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect()
        }
        _ => return Err(wrong()),
    };
    let fitting = lengths
        .iter()
        .map(|length| usize::try_from(*length).ok().filter(|length| (1..1 << 32).contains(length)));
    fitting.collect::<Option<Vec<usize>>>().ok_or_else(wrong)
}
