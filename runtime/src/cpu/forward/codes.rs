//! Attention over a sealed chunk: products with codes where they lie. They are sums of integers, so
//! that what one query gets does not depend on those beside it.

use half::f16;
use hardtack_kernels::KernelTable;
use hardtack_kernels::attention::Scores;
use hardtack_kernels::nested::{Folded, GROUP_ROWS, Places};

use crate::cache::ring::RingLayer;
use crate::cache::sealed::Sealed;
use crate::cache::shape::{CHUNK, RingShape, Scaled};

/// Most queries that read a chunk together: the kernels take 4, 6 or 8 of them at a time.
pub const QUERIES: usize = 24;

/// What one query is multiplied with the two matrices of a cached head; empty for the second where
/// that holds values.
pub type Query<'a> = [&'a [f32]; 2];

/// Numbers of one query's result as it is staged: rows or columns of codes, the width and some
/// padding.
pub fn staged_width(shape: &RingShape) -> usize {
    let [keys, values] = shape.matrices;
    match values.scaled {
        Scaled::Token => values.columns(),
        Scaled::Channel => keys.rows(),
    }
}

/// Prefetches a head's keys of a chunk, or its values.
pub fn prefetch(
    layer: &RingLayer,
    kernels: &KernelTable,
    sealed: &Sealed,
    head: usize,
    values: bool,
) {
    for (matrix, shape) in layer.shape().matrices.into_iter().enumerate() {
        if (shape.scaled == Scaled::Token) == values {
            for group in shape.groups() {
                let (codes, lowest, ranges) = layer.codes(sealed, matrix, head, group);
                (kernels.prefetch)(&codes, [lowest, ranges]);
            }
        }
    }
}

/// `score += sum over channels of query * (lowest + range * (first + code * step))`, the ranges
/// folded into the query.
pub fn score(
    layer: &RingLayer,
    kernels: &KernelTable,
    sealed: &Sealed,
    head: usize,
    queries: &[Query<'_>],
    scores: &mut [Scores],
) {
    let scores = scores.as_flattened_mut();
    for (matrix, shape) in layer.shape().matrices.into_iter().enumerate() {
        if shape.scaled == Scaled::Token {
            continue;
        }
        for (first, rows) in shape.groups() {
            let (codes, lowest, ranges) = layer.codes(sealed, matrix, head, (first, rows));
            let mut folded = [Folded::ZERO; QUERIES];
            for (index, query) in queries.iter().enumerate() {
                let query = &query[matrix][first..shape.width.min(first + rows)];
                let (lowest, ranges) = (&lowest[..query.len()], &ranges[..query.len()]);
                let offset = fold(kernels, codes.bits, query, lowest, ranges, &mut folded[index]);
                scores[index * CHUNK..(index + 1) * CHUNK]
                    .iter_mut()
                    .for_each(|score| *score += offset);
            }
            (kernels.code_rows)(&codes, &folded[..queries.len()], scores);
        }
    }
}

/// `out += sum over tokens of weight * value`, with tokens' ranges folded into the weights, or
/// channels' ranges applied to the sums.
pub fn gather(
    layer: &RingLayer,
    kernels: &KernelTable,
    sealed: &Sealed,
    head: usize,
    weights: &[Scores],
    out: &mut [f32],
) {
    let (matrix, width) = (layer.shape().value_matrix(), staged_width(layer.shape()));
    let shape = layer.shape().matrices[matrix];
    let mut folded = [Folded::ZERO; QUERIES];
    if shape.scaled == Scaled::Token {
        let (codes, lowest, ranges) = layer.codes(sealed, matrix, head, (0, CHUNK));
        for (index, weights) in weights.iter().enumerate() {
            let offset = fold(kernels, codes.bits, weights, lowest, ranges, &mut folded[index]);
            out[index * width..(index + 1) * width].iter_mut().for_each(|value| *value += offset);
        }
        return (kernels.code_rows)(&codes, &folded[..weights.len()], out);
    }
    let mut sums = [0.0; QUERIES];
    for (index, weights) in weights.iter().enumerate() {
        (kernels.fold)(weights, &[f16::ONE; CHUNK], &mut folded[index]);
        sums[index] = weights.iter().sum::<f32>();
    }
    for (first, rows) in shape.groups() {
        let (codes, lowest, ranges) = layer.codes(sealed, matrix, head, (first, rows));
        let mut products = [0.0; QUERIES * GROUP_ROWS];
        let products = &mut products[..weights.len() * rows];
        (kernels.code_columns)(&codes, &folded[..weights.len()], products);
        let Places { first: first_place, step } = Places::of(codes.bits);
        for (index, products) in products.chunks_exact(rows).enumerate() {
            let out = &mut out[index * width + first..][..rows];
            for (((out, product), lowest), range) in
                out.iter_mut().zip(products).zip(lowest).zip(ranges)
            {
                let inside = step * product + first_place * sums[index];
                *out += lowest.to_f32() * sums[index] + range.to_f32() * inside;
            }
        }
    }
}

/// Folds ranges into what their rows are multiplied with. Returns what the rows' lowest values and
/// their codes' first places add to every sum.
fn fold(
    kernels: &KernelTable,
    bits: u32,
    x: &[f32],
    lowest: &[f16],
    ranges: &[f16],
    out: &mut Folded,
) -> f32 {
    (kernels.fold)(x, ranges, out);
    let Places { first, step } = Places::of(bits);
    out.scale *= step;
    (kernels.dot_f16)(x, lowest) + first * (kernels.dot_f16)(x, ranges)
}
