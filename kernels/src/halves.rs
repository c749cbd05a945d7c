//! Keys and values in half floats, met by several queries at once: what attention does where they are kept as they are.

use half::f16;

/// Most keys or values of a call.
pub const ROWS_MAX: usize = 64;

/// Scores of one query, or the weights that are made of them.
pub type Scores = [f32; ROWS_MAX];

/// The number of keys `[keys, width]` of a call.
///
/// # Panics
/// If lengths do not agree, or there are more than [`ROWS_MAX`].
pub fn check_scores(queries: &[&[f32]], keys: &[f16], scores: &[Scores]) -> usize {
    assert_eq!(queries.len(), scores.len(), "scores of every query");
    let Some(width) = queries.first().map(|query| query.len()) else { return 0 };
    assert!(queries.iter().all(|query| query.len() == width), "queries of equal width");
    rows(keys, width)
}

/// The number of values `[values, width]` of a call, and the distance between two outputs `[weights, at least width]`.
///
/// # Panics
/// If lengths do not agree, or there are more than [`ROWS_MAX`] values.
pub fn check_gather(weights: &[Scores], values: &[f16], width: usize, out: &[f32]) -> (usize, usize) {
    let stride = out.len().checked_div(weights.len()).unwrap_or(width);
    assert!(stride * weights.len() == out.len() && stride >= width, "an output for every row of weights");
    (rows(values, width), stride)
}

fn rows(halves: &[f16], width: usize) -> usize {
    let rows = halves.len() / width.max(1);
    assert!(rows * width == halves.len() && rows <= ROWS_MAX, "at most {ROWS_MAX} whole rows");
    rows
}
