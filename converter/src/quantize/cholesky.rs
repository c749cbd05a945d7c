//! The Cholesky factor of a symmetric matrix, block by block so that nearly all work is matrix
//! products.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

use super::part::{part, part_mut};

/// Columns that are worked out together.
const BLOCK: usize = 128;

/// The matrix is not positive definite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPositiveDefinite;

/// Replaces the lower half of `matrix` `[side, side]` by the lower `L` with `L LT = matrix`; the
/// upper half is not looked at.
pub fn factorize(matrix: &mut [f64], side: usize) -> Result<(), NotPositiveDefinite> {
    assert_eq!(matrix.len(), side * side, "a square matrix");
    for first in (0..side).step_by(BLOCK) {
        let last = side.min(first + BLOCK);
        let (above, below) = matrix.split_at_mut(last * side);
        let mut corner = Array2::zeros((last - first, last - first));
        let rows = ArrayView2::from_shape((last, side), &*above).expect("whole rows");
        corner.assign(&part(rows, first..last, first..last));
        factorize_corner(&mut corner)?;
        let rows = ArrayViewMut2::from_shape((last, side), above).expect("whole rows");
        part_mut(rows, first..last, first..last).assign(&corner);
        if last == side {
            break;
        }
        // L21 = A21 L11^-T, then A22 = A22 - L21 L21T.
        let inverse = invert(&corner);
        let mut panel = Array2::zeros((side - last, last - first));
        let rows = ArrayViewMut2::from_shape((side - last, side), &mut *below).expect("whole rows");
        let mut left = part_mut(rows, 0..side - last, first..last);
        general_mat_mul(1.0, &left, &inverse.t(), 0.0, &mut panel);
        left.assign(&panel);
        below.par_chunks_mut(BLOCK * side).enumerate().for_each(|(index, band)| {
            let (top, count) = (index * BLOCK, band.len() / side);
            let band = ArrayViewMut2::from_shape((count, side), band).expect("whole rows");
            let mut lower = part_mut(band, 0..count, last..last + top + count);
            let width = last - first;
            let left = part(panel.view(), top..top + count, 0..width);
            let right = part(panel.view(), 0..top + count, 0..width);
            general_mat_mul(-1.0, &left, &right.t(), 1.0, &mut lower);
        });
    }
    Ok(())
}

fn factorize_corner(corner: &mut Array2<f64>) -> Result<(), NotPositiveDefinite> {
    let side = corner.nrows();
    for column in 0..side {
        for row in column..side {
            let known: f64 = (0..column).map(|k| corner[[row, k]] * corner[[column, k]]).sum();
            let rest = corner[[row, column]] - known;
            if row > column {
                corner[[row, column]] = rest / corner[[column, column]];
            } else if rest > 0.0 && rest.is_finite() {
                corner[[row, column]] = rest.sqrt();
            } else {
                return Err(NotPositiveDefinite);
            }
        }
    }
    Ok(())
}

/// Inverse of a lower triangle.
fn invert(lower: &Array2<f64>) -> Array2<f64> {
    let side = lower.nrows();
    let mut inverse = Array2::zeros((side, side));
    for column in 0..side {
        inverse[[column, column]] = 1.0 / lower[[column, column]];
        for row in column + 1..side {
            let known: f64 = (column..row).map(|k| lower[[row, k]] * inverse[[k, column]]).sum();
            inverse[[row, column]] = -known / lower[[row, row]];
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_multiplies_to_the_matrix() {
        // Entries r^|i-j| have a known factor's size: positive definite for |r| < 1.
        for side in [1, 5, 128, 129, 300] {
            let entry = |i: usize, j: usize| {
                0.9f64.powi(i.abs_diff(j) as i32) + f64::from(u8::from(i == j))
            };
            let mut matrix: Vec<f64> =
                (0..side * side).map(|at| entry(at / side, at % side)).collect();
            factorize(&mut matrix, side).unwrap();
            for i in 0..side {
                for j in 0..=i {
                    let product: f64 =
                        (0..=j).map(|k| matrix[i * side + k] * matrix[j * side + k]).sum();
                    assert!((product - entry(i, j)).abs() < 1e-12, "{side}: {i}, {j}");
                }
            }
            // Minus the identity anywhere is refused.
            let mut broken: Vec<f64> =
                (0..side * side).map(|at| entry(at / side, at % side)).collect();
            broken[side * side - 1] = -1.0;
            assert_eq!(factorize(&mut broken, side), Err(NotPositiveDefinite));
        }
    }
}
