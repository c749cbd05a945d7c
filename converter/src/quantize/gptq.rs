//! Codes of one matrix, each column's rounding error fed back into the columns after it (GPTQ).
//!
//! Left-looking: before a group of 64 columns, one matrix product carries the errors of all columns
//! before it over. The scale and the minimum of each row's group are searched on the weights as
//! they would be if this group needed no codes, in the half floats that will be stored; then column
//! after column is rounded. Rows do not meet, so results do not depend on threads.

use half::f16;
use hardtack_format::Encoding;
use hardtack_format::encoding::GROUP_COLUMNS;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::affine::{self, Group};
use super::feedback::Feedback;
use super::panel::pack_groups;
use super::part::part;

/// Rows that share one product.
const ROWS: usize = 64;

/// Weights that cannot be quantized.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GptqError {
    /// A weight is no number or beyond half floats.
    #[error(
        "weight of row {row}, column {column}: expected a finite number up to 65504, found {found}"
    )]
    Weight {
        /// The row.
        row: usize,
        /// The column.
        column: usize,
        /// The weight.
        found: f32,
    },
    /// The fed-back weights of a group are beyond half floats.
    #[error(
        "row {row}, columns from {column}: the weights with errors fed back need a scale beyond f16"
    )]
    Range {
        /// The row.
        row: usize,
        /// The first column of the group.
        column: usize,
    },
}

/// A matrix in codes.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    bits: u32,
    columns: usize,
    /// `[rows, groups of 64 columns]`
    groups: Vec<Group>,
}

/// Quantizes `weights` `[rows, columns]` to codes of 1 to 8 bits.
///
/// # Errors
/// A weight is not finite or too large for half floats, or becomes so with the errors fed back.
pub fn quantize(weights: &[f32], bits: u32, feedback: &Feedback) -> Result<Quantized, GptqError> {
    let columns = feedback.columns();
    assert!(
        (1..=8).contains(&bits) && weights.len().is_multiple_of(columns),
        "codes of whole rows"
    );
    let most = f16::MAX.to_f32();
    if let Some(at) = weights.iter().position(|weight| weight.is_nan() || weight.abs() > most) {
        return Err(GptqError::Weight {
            row: at / columns,
            column: at % columns,
            found: weights[at],
        });
    }
    let row_groups = columns.div_ceil(GROUP_COLUMNS);
    let empty = Group { codes: [0; GROUP_COLUMNS], scale: f16::ZERO, minimum: f16::ZERO };
    let mut groups = vec![empty; weights.len() / columns * row_groups];
    groups.par_chunks_mut(ROWS * row_groups).zip(weights.par_chunks(ROWS * columns)).for_each(
        |(groups, weights)| match feedback.carry() {
            Some(carry) => quantize_rows(weights, bits, carry, feedback.importance(), groups),
            None => quantize_plainly(weights, bits, columns, groups),
        },
    );
    let is_finite = |group: &Group| group.scale.is_finite() && group.minimum.is_finite();
    match groups.iter().position(|group| !is_finite(group)) {
        Some(at) => {
            Err(GptqError::Range { row: at / row_groups, column: at % row_groups * GROUP_COLUMNS })
        }
        None => Ok(Quantized { bits, columns, groups }),
    }
}

fn quantize_plainly(weights: &[f32], bits: u32, columns: usize, groups: &mut [Group]) {
    let parts = weights.chunks_exact(columns).flat_map(|row| row.chunks(GROUP_COLUMNS));
    for (group, part) in groups.iter_mut().zip(parts) {
        *group = affine::quantize(part, bits);
    }
}

fn quantize_rows(
    weights: &[f32],
    bits: u32,
    carry: &[f32],
    importance: &[f32],
    groups: &mut [Group],
) {
    let columns = importance.len();
    let (rows, row_groups) = (weights.len() / columns, columns.div_ceil(GROUP_COLUMNS));
    let carry = ArrayView2::from_shape((columns, columns), carry).expect("a square");
    let mut errors = Array2::<f32>::zeros((rows, columns));
    for index in 0..row_groups {
        let (first, last) = (index * GROUP_COLUMNS, columns.min((index + 1) * GROUP_COLUMNS));
        // [rows, columns of the group]: what the errors so far move the targets by.
        let mut carried = Array2::<f32>::zeros((rows, last - first));
        let (done, ahead) =
            (part(errors.view(), 0..rows, 0..first), part(carry, 0..first, first..last));
        general_mat_mul(1.0, &done, &ahead, 0.0, &mut carried);
        let own = part(carry, first..last, first..last);
        for (row, carried) in carried.rows().into_iter().enumerate() {
            let carried = carried.to_slice().expect("rows are contiguous");
            let weights = &weights[row * columns + first..row * columns + last];
            let expected = unrounded(weights, carried, &own);
            let found = affine::search(&expected[..weights.len()], &importance[first..last], bits);
            let errors = errors.as_slice_mut().expect("rows are contiguous");
            let errors = &mut errors[row * columns + first..row * columns + last];
            groups[row * row_groups + index] =
                round_in_turn(weights, carried, &own, &found, bits, errors);
        }
    }
}

/// The weights of a group that would make good all errors before it, had they no need to be codes.
fn unrounded(weights: &[f32], carried: &[f32], own: &ArrayView2<'_, f32>) -> [f32; GROUP_COLUMNS] {
    let mut moves = [0.0; GROUP_COLUMNS];
    moves[..carried.len()].copy_from_slice(carried);
    let mut expected = [0.0; GROUP_COLUMNS];
    for (column, &weight) in weights.iter().enumerate() {
        expected[column] = weight + moves[column];
        let error = -moves[column];
        spread(error, column, own, &mut moves);
    }
    expected
}

/// Rounds the columns of a group one after another with a given scale and minimum; leaves their
/// errors in `errors`.
fn round_in_turn(
    weights: &[f32],
    carried: &[f32],
    own: &ArrayView2<'_, f32>,
    found: &Group,
    bits: u32,
    errors: &mut [f32],
) -> Group {
    let mut moves = [0.0; GROUP_COLUMNS];
    moves[..carried.len()].copy_from_slice(carried);
    let levels = affine::Levels::new(found.scale, found.minimum, bits);
    let mut group = Group { codes: [0; GROUP_COLUMNS], ..*found };
    for (column, &weight) in weights.iter().enumerate() {
        let code = levels.nearest(weight + moves[column]);
        group.codes[column] = code;
        errors[column] = weight - levels.weight(code);
        spread(errors[column], column, own, &mut moves);
    }
    group
}

/// Moves the targets of the later columns of a group by the error of one.
fn spread(error: f32, column: usize, own: &ArrayView2<'_, f32>, moves: &mut [f32; GROUP_COLUMNS]) {
    let row = own.row(column);
    let later = &row.to_slice().expect("rows are contiguous")[column + 1..];
    for (target, share) in moves[column + 1..].iter_mut().zip(later) {
        *target += error * share;
    }
}

impl Quantized {
    /// Bits of a code.
    pub const fn bits(&self) -> u32 {
        self.bits
    }

    /// The weights `[rows, columns]` that the codes stand for: the ones that a blob with them
    /// decodes to, bit for bit.
    pub fn weights(&self) -> Vec<f32> {
        let row_groups = self.columns.div_ceil(GROUP_COLUMNS);
        let of_row = |groups: &[Group]| -> Vec<f32> {
            let all = groups.iter().flat_map(|group| {
                let levels = affine::Levels::new(group.scale, group.minimum, self.bits);
                group.codes.map(|code| levels.weight(code))
            });
            all.take(self.columns).collect()
        };
        self.groups.chunks_exact(row_groups).flat_map(of_row).collect()
    }

    /// Panels of the codes, as [`super::encode_rows`] makes them.
    ///
    /// # Panics
    /// If the encoding has codes of other bits.
    pub fn encode(&self, encoding: Encoding) -> Vec<u8> {
        assert_eq!(encoding.code_bits(), Some(self.bits), "an encoding of these bits");
        pack_groups(encoding, &self.groups, self.columns)
    }
}
