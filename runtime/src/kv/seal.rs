//! Half floats of a full chunk into nested codes.

use half::f16;
use hardtack_kernels::nested::GROUP_ROWS;

use super::shape::{CHUNK, Matrix, Scaled};

/// Codes that [`quantize`] may write at once for a matrix.
pub const fn codes_max(matrix: Matrix) -> usize {
    GROUP_ROWS * matrix.columns()
}

/// Quantizes rows `first` to `first + rows` of a matrix to 8 bits. `halves` is `[tokens, width]`; `lowest` and `ranges`
/// have a number for each of these rows.
///
/// A code says in which of 256 equal parts of its row's range the number lies (see [`hardtack_kernels::nested`]), so that
/// fewer bits of it are what quantizing to fewer bits would have given.
pub fn quantize(
    matrix: Matrix,
    halves: &[f16],
    first: usize,
    lowest: &mut [f16],
    ranges: &mut [f16],
    codes: &mut [u8],
) {
    let (width, columns) = (matrix.width, matrix.columns());
    let value = |row: usize, column: usize| match matrix.scaled {
        Scaled::Channel => halves[column * width + row].to_f32(),
        Scaled::Token => halves[row * width + column].to_f32(),
    };
    let (rows_used, columns_used) = match matrix.scaled {
        Scaled::Channel => (width, CHUNK),
        Scaled::Token => (CHUNK, width),
    };
    codes.fill(0);
    for (index, codes) in codes.chunks_exact_mut(columns).enumerate() {
        let row = first + index;
        (lowest[index], ranges[index]) = (f16::ZERO, f16::ZERO);
        if row >= rows_used {
            continue;
        }
        let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
        for column in 0..columns_used {
            (least, most) = (least.min(value(row, column)), most.max(value(row, column)));
        }
        // What comes of numbers that are no numbers is not defined, but it is no panic.
        lowest[index] = f16::from_f32(least);
        ranges[index] = f16::from_f32(most - least).min(f16::MAX);
        let range = ranges[index].to_f32();
        if range > 0.0 {
            for (column, code) in codes[..columns_used].iter_mut().enumerate() {
                *code = ((value(row, column) - least) / range * 256.0).clamp(0.0, 255.0) as u8;
            }
        }
    }
}
