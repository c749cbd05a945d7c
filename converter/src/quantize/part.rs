//! Rectangles of matrices. (`ndarray`'s own macro for it does not go with a crate that forbids
//! `unsafe`.)

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};

/// Some rows and columns of a matrix.
pub fn part<T>(
    mut view: ArrayView2<'_, T>,
    rows: Range<usize>,
    columns: Range<usize>,
) -> ArrayView2<'_, T> {
    view.slice_axis_inplace(Axis(0), Slice::from(rows));
    view.slice_axis_inplace(Axis(1), Slice::from(columns));
    view
}

/// Some rows and columns of a matrix, to be written.
pub fn part_mut<T>(
    mut view: ArrayViewMut2<'_, T>,
    rows: Range<usize>,
    columns: Range<usize>,
) -> ArrayViewMut2<'_, T> {
    view.slice_axis_inplace(Axis(0), Slice::from(rows));
    view.slice_axis_inplace(Axis(1), Slice::from(columns));
    view
}
