//! Queries times keys and weights times values, both in f16, each widened once for several queries.

use std::arch::aarch64::*;
use std::array::{from_fn, from_mut, from_ref};

use half::f16;
use hardtack_kernels::attention::{Scores, check_gather, check_scores};
use hardtack_kernels::scalar;

use super::lanes::{load, load_f16, store};

/// `scores[q][k] += sum of queries[q] * keys[k]`
#[target_feature(enable = "neon")]
pub(super) fn score_f16(queries: &[&[f32]], keys: &[f16], scores: &mut [Scores]) {
    check_scores(queries, keys, scores);
    let (fours, ones) = queries.as_chunks::<4>();
    let (four_scores, one_scores) = scores.as_chunks_mut::<4>();
    for (queries, scores) in fours.iter().zip(four_scores) {
        score(queries, keys, scores);
    }
    for (query, scores) in ones.iter().zip(one_scores) {
        score(&[query], keys, from_mut(scores));
    }
}

/// `out[q] += weights[q][0] * values[0] + ...`
#[target_feature(enable = "neon")]
pub(super) fn gather_f16(weights: &[Scores], values: &[f16], width: usize, out: &mut [f32]) {
    let (_, stride) = check_gather(weights, values, width, out);
    let (fours, ones) = weights.as_chunks::<4>();
    let (four_outs, one_outs) = out.split_at_mut(fours.len() * 4 * stride);
    for (weights, out) in fours.iter().zip(four_outs.chunks_exact_mut(4 * stride.max(1))) {
        gather(weights, values, width, stride, out);
    }
    for (weights, out) in ones.iter().zip(one_outs.chunks_exact_mut(stride.max(1))) {
        gather(from_ref(weights), values, width, stride, out);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn score<const QUERIES: usize>(
    queries: &[&[f32]; QUERIES],
    keys: &[f16],
    scores: &mut [Scores; QUERIES],
) {
    let tails: [_; QUERIES] = from_fn(|at| queries[at].as_chunks::<8>().1);
    let queries: [_; QUERIES] = from_fn(|at| queries[at].as_chunks::<8>().0);
    let width = queries[0].len() * 8 + tails[0].len();
    for (row, key) in keys.chunks_exact(width.max(1)).enumerate() {
        let (key, key_tail) = key.as_chunks::<8>();
        let mut sums = [[vdupq_n_f32(0.0); 2]; QUERIES];
        for (at, key) in key.iter().enumerate() {
            for (half, key) in key.as_chunks().0.iter().enumerate() {
                let key = load_f16(key);
                for (sums, query) in sums.iter_mut().zip(&queries) {
                    sums[half] = vfmaq_f32(sums[half], load(&query[at].as_chunks().0[half]), key);
                }
            }
        }
        for (query, [first, second]) in sums.into_iter().enumerate() {
            let tail = (scalar::TABLE.dot_f16)(tails[query], key_tail);
            scores[query][row] += vaddvq_f32(vaddq_f32(first, second)) + tail;
        }
    }
}

/// Each product is rounded as scalar does.
#[inline]
#[target_feature(enable = "neon")]
fn gather<const QUERIES: usize>(
    weights: &[Scores; QUERIES],
    values: &[f16],
    width: usize,
    stride: usize,
    out: &mut [f32],
) {
    let vectors = width / 4;
    for vector in 0..vectors {
        let mut sums = [vdupq_n_f32(0.0); QUERIES];
        for (query, sum) in sums.iter_mut().enumerate() {
            *sum = load(&out[query * stride..].as_chunks().0[vector]);
        }
        for (row, value) in values.chunks_exact(width).enumerate() {
            let value = load_f16(&value.as_chunks().0[vector]);
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = vaddq_f32(*sum, vmulq_n_f32(value, weights[row]));
            }
        }
        for (query, sum) in sums.into_iter().enumerate() {
            store(&mut out[query * stride..].as_chunks_mut().0[vector], sum);
        }
    }
    for (query, weights) in weights.iter().enumerate() {
        let out = &mut out[query * stride..][vectors * 4..width];
        for (&weight, value) in weights.iter().zip(values.chunks_exact(width.max(1))) {
            (scalar::TABLE.add_scaled_f16)(out, weight, &value[vectors * 4..]);
        }
    }
}
