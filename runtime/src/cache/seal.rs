//! The f16 of a full chunk into nested codes.

use half::f16;
use hardtack_kernels::nested::{GROUP_ROWS, quantize_row};

use super::shape::{CHUNK, Matrix, Scaled};

/// Codes that [`quantize`] may write at once for a matrix.
pub const fn codes_max(matrix: Matrix) -> usize {
    GROUP_ROWS * matrix.columns()
}

/// Quantizes rows `first` to `first + rows` of a matrix to 8 bits. `exact` is `[tokens, width]`;
/// `lowest` and `ranges` have a number for each of these rows.
///
/// Fewer bits of a code are what quantizing to fewer bits would have given (see
/// [`hardtack_kernels::nested`]).
pub fn quantize(
    matrix: Matrix,
    exact: &[f16],
    first: usize,
    lowest: &mut [f16],
    ranges: &mut [f16],
    codes: &mut [u8],
) {
    let (width, columns) = (matrix.width, matrix.columns());
    let value = |row: usize, column: usize| match matrix.scaled {
        Scaled::Channel => exact[column * width + row].to_f32(),
        Scaled::Token => exact[row * width + column].to_f32(),
    };
    let (rows_used, columns_used) = match matrix.scaled {
        Scaled::Channel => (width, CHUNK),
        Scaled::Token => (CHUNK, width),
    };
    codes.fill(0);
    for (index, codes) in codes.chunks_exact_mut(columns).enumerate() {
        let row = first + index;
        let scale = match row < rows_used {
            true => quantize_row((0..columns_used).map(|column| value(row, column)), codes),
            false => [f16::ZERO; 2],
        };
        [lowest[index], ranges[index]] = scale;
    }
}
