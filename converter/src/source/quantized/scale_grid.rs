//! Grids of scales beside a weight: how many rows and columns share one.

use super::super::{ElementKind, SourceError, TensorInfo};
use super::bits::{Codes, Order};
use super::grid::{Entries, Grid, Sharing, is_numbers};
use super::parts::Parts;
use super::values::Values;

/// Length of a side of a block where neither the configuration nor the shapes say (DeepSeek-V3's).
const BLOCK: usize = 128;

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
