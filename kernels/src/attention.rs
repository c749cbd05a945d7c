//! Several queries times keys, and their weights times values: what attention does where both are
//! kept as they are.

/// Most keys or values of a call.
pub const ROWS_MAX: usize = 64;

/// Scores of one query, or the weights that are made of them.
pub type Scores = [f32; ROWS_MAX];

/// The number of keys `[keys, width]` of a call.
///
/// # Panics
/// If lengths do not agree, or there are more than [`ROWS_MAX`].
pub fn check_scores<T>(queries: &[&[f32]], keys: &[T], scores: &[Scores]) -> usize {
    assert_eq!(queries.len(), scores.len(), "scores of every query");
    let Some(width) = queries.first().map(|query| query.len()) else { return 0 };
    assert!(queries.iter().all(|query| query.len() == width), "queries of equal width");
    rows(keys, width)
}

/// The number of values `[values, width]` of a call, and the distance between two outputs
/// `[weights, at least width]`.
///
/// # Panics
/// If lengths do not agree, or there are more than [`ROWS_MAX`] values.
pub fn check_gather<T>(
    weights: &[Scores],
    values: &[T],
    width: usize,
    out: &[f32],
) -> (usize, usize) {
    let stride = out.len().checked_div(weights.len()).unwrap_or(width);
    assert!(
        stride * weights.len() == out.len() && stride >= width,
        "an output for every row of weights"
    );
    (rows(values, width), stride)
}

/// [`KernelTable::score_f16`] one query and one key at a time, for keys of any kind.
///
/// [`KernelTable::score_f16`]: crate::KernelTable::score_f16
pub fn score_each<T>(
    queries: &[&[f32]],
    keys: &[T],
    scores: &mut [Scores],
    dot: impl Fn(&[f32], &[T]) -> f32,
) {
    check_scores(queries, keys, scores);
    for (query, scores) in queries.iter().zip(scores) {
        for (score, key) in scores.iter_mut().zip(keys.chunks_exact(query.len().max(1))) {
            *score += dot(query, key);
        }
    }
}

/// [`KernelTable::gather_f16`] one query and one value at a time, for values of any kind.
///
/// [`KernelTable::gather_f16`]: crate::KernelTable::gather_f16
pub fn gather_each<T>(
    weights: &[Scores],
    values: &[T],
    width: usize,
    out: &mut [f32],
    add_scaled: impl Fn(&mut [f32], f32, &[T]),
) {
    let (_, stride) = check_gather(weights, values, width, out);
    for (weights, out) in weights.iter().zip(out.chunks_exact_mut(stride.max(1))) {
        for (&weight, value) in weights.iter().zip(values.chunks_exact(width.max(1))) {
            add_scaled(&mut out[..width], weight, value);
        }
    }
}

fn rows<T>(elements: &[T], width: usize) -> usize {
    let rows = elements.len() / width.max(1);
    assert!(rows * width == elements.len() && rows <= ROWS_MAX, "at most {ROWS_MAX} whole rows");
    rows
}
