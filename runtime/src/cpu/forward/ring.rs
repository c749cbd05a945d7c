//! Attention over a ring: products with codes where they lie. They are sums of integers, so that
//! what one query gets does not depend on those beside it.

use std::ops::Range;

use half::f16;
use hardtack_kernels::KernelTable;
use hardtack_kernels::attention::Scores;
use hardtack_kernels::nested::{Folded, GROUP_ROWS, Places};

use super::attend::{Cached, Query};
use super::rope::turns;
use super::{RingCache, Step};
use crate::cache::ring::{Part, RingLayer, Sealed};
use crate::cache::shape::{CHUNK, RingShape, Scaled};
use crate::cpu::scratch::{Scratch, Turn};

/// Queries of a block: the kernels take 4, 6 or 8 of them at a time.
pub const QUERIES: usize = 24;

/// The pieces of a pass within one chunk each: first token and tokens.
pub fn segments(position: usize, tokens: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let count = (CHUNK - (position + first) % CHUNK).min(tokens - first);
        first += count;
        (count > 0).then_some((first - count, count))
    })
}

/// Begins the chunk of this position in a layer, if it has not begun.
pub fn begin(step: &mut Step<'_>, position: usize, layer: &mut RingCache<'_>) {
    layer.ring.begin(position / CHUNK, layer.policy, &mut step.scratch.sealing);
}

/// Turns queries back, by as much as the first chunk's keys are moved forward, into the scratch's
/// `query_moved`: the keys stay as they are. `turn(head, turns)` turns one head of `width` numbers.
pub fn move_queries(
    step: &mut Step<'_>,
    shift: usize,
    span: Range<usize>,
    width: usize,
    turn: impl Fn(&mut [f32], &[Turn]),
) {
    let Some(frequencies) = step.network.rope_frequencies.filter(|_| shift > 0) else { return };
    let frequencies = step.cpu.vector(&frequencies);
    let Scratch { query, query_moved, turn_back, .. } = &mut *step.scratch;
    let turn_back = &mut turn_back[..frequencies.len()];
    turns(shift, frequencies, turn_back);
    turn_back.iter_mut().for_each(|[sine, _]| *sine = -*sine);
    let moved = &mut query_moved[span.clone()];
    moved.copy_from_slice(&query[span]);
    moved.chunks_exact_mut(width).for_each(|head| turn(head, turn_back));
}

/// Numbers of one query's result as it is staged: rows or columns of codes, the width and some
/// padding.
pub fn staged_width(shape: &RingShape) -> usize {
    let [keys, values] = shape.matrices;
    match values.scaled {
        Scaled::Token => values.columns(),
        Scaled::Channel => keys.rows(),
    }
}

impl Cached for RingLayer {
    type Part<'p> = Part<'p>;

    const QUERIES: usize = QUERIES;

    fn heads(&self) -> usize {
        self.shape().heads
    }

    fn window(&self) -> usize {
        self.shape().window
    }

    fn widths(&self) -> (usize, usize) {
        let used = match self.shape().matrices {
            [_, values] if values.scaled == Scaled::Token => values.width,
            [latents, _] => latents.width,
        };
        (staged_width(self.shape()), used)
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.parts()
    }

    fn chunk(part: Part<'_>) -> usize {
        match part {
            Part::Halves { chunk } => chunk,
            Part::Codes(sealed) => sealed.chunk as usize,
        }
    }

    fn moved(&self, part: Part<'_>) -> bool {
        matches!(part, Part::Halves { chunk: 0 }) && self.shift(self.begun()) > 0
    }

    fn prefetch(&self, kernels: &KernelTable, part: Part<'_>, head: usize, values: bool) {
        let Part::Codes(sealed) = part else { return };
        for (matrix, shape) in self.shape().matrices.into_iter().enumerate() {
            if (shape.scaled == Scaled::Token) == values {
                for group in shape.groups() {
                    let (codes, lowest, ranges) = self.codes(sealed, matrix, head, group);
                    (kernels.prefetch)(&codes, [lowest, ranges]);
                }
            }
        }
    }

    fn score(
        &self,
        kernels: &KernelTable,
        part: Part<'_>,
        head: usize,
        seen: usize,
        queries: &[Query<'_>],
        scores: &mut [Scores],
    ) {
        match part {
            Part::Codes(sealed) => score_codes(self, kernels, sealed, head, queries, scores),
            Part::Halves { chunk } => {
                for matrix in 0..queries.first().map_or(0, |query| query.len()) {
                    let mut rows = [&[][..]; QUERIES];
                    rows.iter_mut().zip(queries).for_each(|(row, query)| *row = query[matrix]);
                    let rows = &rows[..queries.len()];
                    if !rows[0].is_empty() {
                        let keys = &self.halves(chunk, matrix, head)[..seen * rows[0].len()];
                        (kernels.score_f16)(rows, keys, scores);
                    }
                }
            }
        }
    }

    fn gather(
        &self,
        kernels: &KernelTable,
        part: Part<'_>,
        head: usize,
        seen: usize,
        weights: &[Scores],
        out: &mut [f32],
    ) {
        match part {
            Part::Codes(sealed) => gather_codes(self, kernels, sealed, head, weights, out),
            Part::Halves { chunk } => {
                let matrix = self.shape().value_matrix();
                let width = self.shape().matrices[matrix].width;
                (kernels.gather_f16)(
                    weights,
                    &self.halves(chunk, matrix, head)[..seen * width],
                    width,
                    out,
                );
            }
        }
    }
}

/// `score += sum over channels of query * (lowest + range * (first + code * step))`, the ranges
/// folded into the query.
fn score_codes(
    layer: &RingLayer,
    kernels: &KernelTable,
    sealed: &Sealed,
    kv_head: usize,
    queries: &[Query<'_>],
    scores: &mut [Scores],
) {
    let scores = scores.as_flattened_mut();
    for (matrix, shape) in layer.shape().matrices.into_iter().enumerate() {
        if shape.scaled == Scaled::Token {
            continue;
        }
        for (first, rows) in shape.groups() {
            let (codes, lowest, ranges) = layer.codes(sealed, matrix, kv_head, (first, rows));
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
fn gather_codes(
    layer: &RingLayer,
    kernels: &KernelTable,
    sealed: &Sealed,
    kv_head: usize,
    weights: &[Scores],
    out: &mut [f32],
) {
    let (matrix, width) = (layer.shape().value_matrix(), staged_width(layer.shape()));
    let shape = layer.shape().matrices[matrix];
    let mut folded = [Folded::ZERO; QUERIES];
    if shape.scaled == Scaled::Token {
        let (codes, lowest, ranges) = layer.codes(sealed, matrix, kv_head, (0, CHUNK));
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
        let (codes, lowest, ranges) = layer.codes(sealed, matrix, kv_head, (first, rows));
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

/// Folds ranges into what their rows are multiplied with, and gives what the rows' lowest values
/// and their codes' first places add to every sum.
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
