//! Attention over a ring: softmax in one pass over its chunks, on codes where they lie.
//!
//! Queries that see the same keys are taken in blocks, so that codes are unpacked once for several. What one query gives
//! does not depend on those beside it: products with codes are sums of integers, and everything else is its own.

use std::ops::Range;

use half::f16;
use hardtack_kernels::KernelTable;
use hardtack_kernels::nested::{Folded, GROUP_ROWS};

use super::rope::turns;
use super::{RingCache, Step};
use crate::backend::cpu::Cpu;
use crate::kv::ring::{Part, RingLayer, Sealed};
use crate::kv::shape::{CHUNK, RingShape, Scaled};
use crate::scratch::{Scratch, Turn};

/// Queries of a block.
pub const QUERIES: usize = 6;

/// Scores, then weights, of a block.
type Scores = [[f32; CHUNK]; QUERIES];

/// Consecutive tokens of one chunk, the last of which are the newest of the ring.
pub struct Segment<'a, Q> {
    pub cpu: Cpu<'a>,
    pub layer: &'a RingLayer,
    /// Position of the first token.
    pub position: usize,
    pub tokens: usize,
    /// Queries of a token for every cached head.
    pub group: usize,
    /// Scores are multiplied by this.
    pub scale: f32,
    /// A logit of every query head for attending to nothing.
    pub sinks: Option<&'a [f32]>,
    /// `query(token, head, moved)`: what meets the two matrices of a cached head, `moved` for keys of the first chunk that
    /// were moved. What meets the second is empty where that holds values.
    pub query: Q,
}

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

/// Turns queries back, by as much as the first chunk's keys are moved forward, into the scratch's `query_moved`: the keys
/// stay as they are. `turn(head, turns)` turns one head of `width` numbers.
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

/// The softmax of one query so far.
#[derive(Clone, Copy)]
struct Running {
    maximum: f32,
    sum: f32,
}

/// Numbers of one query's result as it is staged: rows or columns of codes, the width and some padding.
pub fn staged_width(shape: &RingShape) -> usize {
    let [keys, values] = shape.matrices;
    match values.scaled {
        Scaled::Token => values.columns(),
        Scaled::Channel => keys.rows(),
    }
}

/// Blocks of so many tokens' queries, of all heads that are cached.
pub const fn blocks(heads: usize, tokens: usize, group: usize) -> usize {
    heads * (tokens * group).div_ceil(QUERIES)
}

impl<'a, Q> Segment<'a, Q>
where
    Q: Fn(usize, usize, bool) -> [&'a [f32]; 2] + Sync,
{
    /// Attends with every query, and calls `collect(token, head, result)` with what each gives. `staging` holds
    /// [`staged_width`] numbers for each query of all [`blocks`].
    pub fn attend(&self, staging: &mut [f32], mut collect: impl FnMut(usize, usize, &[f32])) {
        let (width, queries) = (staged_width(self.layer.shape()), self.tokens * self.group);
        let heads = self.layer.shape().heads;
        let staging = &mut staging[..blocks(heads, self.tokens, self.group) * QUERIES * width];
        let blocks_of_head = queries.div_ceil(QUERIES);
        let place = |block: usize| (block / blocks_of_head, block % blocks_of_head * QUERIES);
        self.cpu.for_each_chunk(staging, QUERIES * width, |block, out| {
            let (kv_head, first) = place(block);
            self.block(kv_head, first, (queries - first).min(QUERIES), width, out);
        });
        let used = match self.layer.shape().matrices {
            [_, values] if values.scaled == Scaled::Token => values.width,
            [latents, _] => latents.width,
        };
        for (block, out) in staging.chunks_exact(QUERIES * width).enumerate() {
            let (kv_head, first) = place(block);
            for (index, out) in out.chunks_exact(width).enumerate().take(queries - first) {
                let query = first + index;
                collect(query / self.group, kv_head * self.group + query % self.group, &out[..used]);
            }
        }
    }

    /// One block: queries `first` to `first + count` of those of a cached head.
    fn block(&self, kv_head: usize, first: usize, count: usize, width: usize, out: &mut [f32]) {
        let place = |index: usize| ((first + index) / self.group, kv_head * self.group + (first + index) % self.group);
        let out = &mut out[..count * width];
        out.fill(0.0);
        let mut running = [Running { maximum: f32::NEG_INFINITY, sum: 0.0 }; QUERIES];
        if let Some(sinks) = self.sinks {
            // The sink takes part in the softmax and has no value.
            let states = running.iter_mut().take(count).enumerate();
            states.for_each(|(index, state)| *state = Running { maximum: sinks[place(index).1], sum: 1.0 });
        }
        let queries: [_; QUERIES] = self.queries(count, place, false);
        for part in self.layer.parts() {
            let chunk = match part {
                Part::Halves { chunk } => chunk,
                Part::Codes(sealed) => sealed.chunk as usize,
            };
            let visible = |index: usize| self.visible(place(index).0, chunk);
            let mut scores: Scores = [[0.0; CHUNK]; QUERIES];
            match part {
                Part::Codes(sealed) => self.score_codes(sealed, kv_head, &queries[..count], &mut scores),
                Part::Halves { .. } => {
                    let moved = chunk == 0 && self.layer.shift(self.position / CHUNK) > 0;
                    let queries = if moved { self.queries(count, place, true) } else { queries };
                    for (index, (query, scores)) in queries[..count].iter().zip(&mut scores).enumerate() {
                        let (from, to) = visible(index);
                        self.score_halves(chunk, kv_head, query, from, &mut scores[from..to]);
                    }
                }
            }
            for (index, (scores, out)) in scores.iter_mut().zip(out.chunks_exact_mut(width)).enumerate() {
                let (from, to) = visible(index);
                weigh(self.cpu.kernels, self.scale, scores, (from, to), &mut running[index], out);
            }
            match part {
                Part::Codes(sealed) => self.gather_codes(sealed, kv_head, &scores[..count], width, out),
                Part::Halves { .. } => {
                    for (index, (weights, out)) in scores.iter().zip(out.chunks_exact_mut(width)).enumerate() {
                        let (from, to) = visible(index);
                        self.gather_halves(chunk, kv_head, from, &weights[from..to], out);
                    }
                }
            }
        }
        for (out, state) in out.chunks_exact_mut(width).zip(running) {
            let inverse = 1.0 / state.sum;
            out.iter_mut().for_each(|value| *value *= inverse);
        }
    }

    fn queries(&self, count: usize, place: impl Fn(usize) -> (usize, usize), moved: bool) -> [[&'a [f32]; 2]; QUERIES] {
        std::array::from_fn(|index| {
            let (token, head) = place(index);
            if index < count { (self.query)(token, head, moved) } else { [&[][..], &[][..]] }
        })
    }

    /// Which tokens of a chunk, from and to, a token of the segment sees.
    fn visible(&self, token: usize, chunk: usize) -> (usize, usize) {
        let (position, start) = (self.position + token, chunk * CHUNK);
        let to = (position + 1 - start).min(CHUNK);
        let from = match self.layer.shape().window {
            0 => 0,
            window => (position + 1).saturating_sub(window).saturating_sub(start).min(to),
        };
        (from, to)
    }

    fn score_halves(&self, chunk: usize, kv_head: usize, query: &[&[f32]; 2], first: usize, scores: &mut [f32]) {
        for (matrix, query) in query.iter().enumerate().filter(|(_, query)| !query.is_empty()) {
            let keys = &self.layer.halves(chunk, matrix, kv_head)[first * query.len()..];
            for (score, key) in scores.iter_mut().zip(keys.chunks_exact(query.len())) {
                *score += (self.cpu.kernels.dot_f16)(query, key);
            }
        }
    }

    fn gather_halves(&self, chunk: usize, kv_head: usize, first: usize, weights: &[f32], out: &mut [f32]) {
        let matrix = self.value_matrix();
        let width = self.layer.shape().matrices[matrix].width;
        let values = &self.layer.halves(chunk, matrix, kv_head)[first * width..];
        for (&weight, value) in weights.iter().zip(values.chunks_exact(width)) {
            (self.cpu.kernels.add_scaled_f16)(&mut out[..width], weight, value);
        }
    }

    /// Latents are keys and values in one.
    fn value_matrix(&self) -> usize {
        usize::from(self.layer.shape().matrices[1].scaled == Scaled::Token)
    }

    /// `score += sum over channels of query * (lowest + range * (code + 1/2) / 2^bits)`, the ranges folded into the query.
    fn score_codes(&self, sealed: &Sealed, kv_head: usize, queries: &[[&[f32]; 2]], scores: &mut Scores) {
        let kernels = self.cpu.kernels;
        let scores = &mut scores.as_flattened_mut()[..queries.len() * CHUNK];
        for (matrix, shape) in self.layer.shape().matrices.into_iter().enumerate() {
            if shape.scaled == Scaled::Token {
                continue;
            }
            for (first, rows) in shape.groups() {
                let (codes, lowest, ranges) = self.layer.codes(sealed, matrix, kv_head, (first, rows));
                let mut folded = [Folded::ZERO; QUERIES];
                for (index, query) in queries.iter().enumerate() {
                    let query = &query[matrix][first..shape.width.min(first + rows)];
                    let (lowest, ranges) = (&lowest[..query.len()], &ranges[..query.len()]);
                    let offset = fold(kernels, codes.bits, query, lowest, ranges, &mut folded[index]);
                    scores[index * CHUNK..(index + 1) * CHUNK].iter_mut().for_each(|score| *score += offset);
                }
                (kernels.code_rows)(&codes, &folded[..queries.len()], scores);
            }
        }
    }

    /// `out += sum over tokens of weight * value`, with tokens' ranges folded into the weights, or channels' ranges applied
    /// to the sums.
    fn gather_codes(&self, sealed: &Sealed, kv_head: usize, weights: &[[f32; CHUNK]], width: usize, out: &mut [f32]) {
        let (kernels, matrix) = (self.cpu.kernels, self.value_matrix());
        let shape = self.layer.shape().matrices[matrix];
        let mut folded = [Folded::ZERO; QUERIES];
        if shape.scaled == Scaled::Token {
            let (codes, lowest, ranges) = self.layer.codes(sealed, matrix, kv_head, (0, CHUNK));
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
            let (codes, lowest, ranges) = self.layer.codes(sealed, matrix, kv_head, (first, rows));
            let mut products = [0.0; QUERIES * GROUP_ROWS];
            let products = &mut products[..weights.len() * rows];
            (kernels.code_columns)(&codes, &folded[..weights.len()], products);
            let step = part_of_range(codes.bits);
            for (index, products) in products.chunks_exact(rows).enumerate() {
                let out = &mut out[index * width + first..][..rows];
                for (((out, product), lowest), range) in out.iter_mut().zip(products).zip(lowest).zip(ranges) {
                    let inside = step * (product + 0.5 * sums[index]);
                    *out += lowest.to_f32() * sums[index] + range.to_f32() * inside;
                }
            }
        }
    }
}

/// Folds ranges into what their rows are multiplied with, and gives what the rows' lowest values and the halves of their
/// parts add to every sum.
fn fold(kernels: &KernelTable, bits: u32, x: &[f32], lowest: &[f16], ranges: &[f16], out: &mut Folded) -> f32 {
    (kernels.fold)(x, ranges, out);
    let step = part_of_range(bits);
    out.scale *= step;
    (kernels.dot_f16)(x, lowest) + 0.5 * step * (kernels.dot_f16)(x, ranges)
}

/// `2^-bits`
fn part_of_range(bits: u32) -> f32 {
    1.0 / (1u32 << bits) as f32
}

/// Turns scores of the visible tokens into weights, and what is summed already to the new maximum. Tokens that are not seen
/// get no weight.
fn weigh(
    kernels: &KernelTable,
    scale: f32,
    scores: &mut [f32; CHUNK],
    (from, to): (usize, usize),
    running: &mut Running,
    out: &mut [f32],
) {
    scores[..from].fill(0.0);
    scores[to..].fill(0.0);
    let scores = &mut scores[from..to];
    if scores.is_empty() {
        return;
    }
    scores.iter_mut().for_each(|score| *score *= scale);
    let largest = (kernels.maximum)(scores);
    if largest > running.maximum {
        let shrink = hardtack_kernels::math::exp(running.maximum - largest);
        out.iter_mut().for_each(|value| *value *= shrink);
        *running = Running { maximum: largest, sum: running.sum * shrink };
    }
    running.sum += (kernels.exp_sum)(scores, running.maximum);
}
