//! Queries against keys and weights against values, in half floats. Widening a half costs as much as a product, so rows meet
//! several queries at once.

use core::arch::x86_64::{
    __m256, _mm_add_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_hadd_ps, _mm256_set1_ps,
    _mm256_setzero_ps,
};
use core::array::from_fn;

use half::f16;
use hardtack_kernels::halves::{Scores, check_gather, check_scores};
use hardtack_kernels::scalar;

use super::memory::{load_floats, load_halves, store_floats, store_four_floats};

/// Sums of products that are held at once: as many chains of additions hide their latency.
const SUMS: usize = 8;

pub(super) fn score_halves(queries: &[&[f32]], keys: &[f16], scores: &mut [Scores]) {
    let count = check_scores(queries, keys, scores);
    let width = queries.first().map_or(0, |query| query.len());
    if width == 0 {
        return;
    }
    let key = |index: usize| &keys[index * width..(index + 1) * width];
    let (fours, ones) = queries.as_chunks::<4>();
    let (four_scores, one_scores) = scores.as_chunks_mut::<4>();
    for (queries, scores) in fours.iter().zip(four_scores) {
        // SAFETY: only the table names this function, and the table is given out only where the processor has the features.
        unsafe { score::<4, 2>(queries, count, key, scores) };
    }
    for (query, scores) in ones.iter().zip(one_scores) {
        // SAFETY: only the table names this function, and the table is given out only where the processor has the features.
        unsafe { score::<1, SUMS>(&[query], count, key, core::array::from_mut(scores)) };
    }
}

pub(super) fn gather_halves(weights: &[Scores], values: &[f16], width: usize, out: &mut [f32]) {
    let (count, stride) = check_gather(weights, values, width, out);
    let value = |index: usize| &values[index * width..(index + 1) * width];
    let (fours, ones) = weights.as_chunks::<4>();
    let (four_outs, one_outs) = out.split_at_mut(fours.len() * 4 * stride);
    for (weights, out) in fours.iter().zip(four_outs.chunks_exact_mut(4 * stride.max(1))) {
        // SAFETY: only the table names this function, and the table is given out only where the processor has the features.
        unsafe { gather::<4, 2>(weights, count, value, width, stride, out) };
    }
    for (weights, out) in ones.iter().zip(one_outs.chunks_exact_mut(stride.max(1))) {
        // SAFETY: only the table names this function, and the table is given out only where the processor has the features.
        unsafe { gather::<1, SUMS>(core::array::from_ref(weights), count, value, width, stride, out) };
    }
}

/// Scores of some queries, so many keys at a time; those behind the last key are computed with it and thrown away.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn score<'a, const QUERIES: usize, const KEYS: usize>(
    queries: &[&[f32]; QUERIES],
    count: usize,
    key: impl Fn(usize) -> &'a [f16],
    scores: &mut [Scores; QUERIES],
) {
    const { assert!(QUERIES * KEYS == SUMS) };
    let (vectors, tails): ([_; QUERIES], [_; QUERIES]) =
        (from_fn(|at| queries[at].as_chunks().0), from_fn(|at| queries[at].as_chunks::<8>().1));
    for first in (0..count).step_by(KEYS) {
        let keys: [_; KEYS] = from_fn(|at| key((first + at).min(count - 1)));
        let mut sums = reduce(dots(&vectors, &keys.map(|key| key.as_chunks().0)));
        for query in 0..QUERIES {
            for at in 0..KEYS.min(count - first) {
                if !tails[query].is_empty() {
                    let tail = keys[at].as_chunks::<8>().1;
                    sums[query * KEYS + at] += (scalar::TABLE.dot_f16)(tails[query], tail);
                }
                scores[query][first + at] += sums[query * KEYS + at];
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn dots<const QUERIES: usize, const KEYS: usize>(
    queries: &[&[[f32; 8]]; QUERIES],
    keys: &[&[[f16; 8]]; KEYS],
) -> [__m256; SUMS] {
    let length = queries[0].len();
    // Cut to the one length, so that the loop below needs no checks.
    let (queries, keys) = (queries.map(|query| &query[..length]), keys.map(|key| &key[..length]));
    let mut sums = [_mm256_setzero_ps(); SUMS];
    for at in 0..length {
        let mut halves = [_mm256_setzero_ps(); KEYS];
        for key in 0..KEYS {
            halves[key] = load_halves(&keys[key][at]);
        }
        for query in 0..QUERIES {
            let floats = load_floats(&queries[query][at]);
            for key in 0..KEYS {
                sums[query * KEYS + key] = _mm256_fmadd_ps(floats, halves[key], sums[query * KEYS + key]);
            }
        }
    }
    sums
}

/// The sums of the lanes of each vector, all added in the same order.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn reduce([a, b, c, d, e, f, g, h]: [__m256; SUMS]) -> [f32; SUMS] {
    let first = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    let second = _mm256_hadd_ps(_mm256_hadd_ps(e, f), _mm256_hadd_ps(g, h));
    let mut sums = [0.0; SUMS];
    for (sums, four) in sums.as_chunks_mut::<4>().0.iter_mut().zip([first, second]) {
        store_four_floats(sums, _mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps::<1>(four)));
    }
    sums
}

/// Adds the values to some queries' outputs, so many vectors of columns at a time.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn gather<'a, const QUERIES: usize, const VECTORS: usize>(
    weights: &[Scores; QUERIES],
    count: usize,
    value: impl Fn(usize) -> &'a [f16],
    width: usize,
    stride: usize,
    out: &mut [f32],
) {
    let vectors = width / 8;
    let blocks = vectors / VECTORS;
    for block in 0..blocks {
        gather_columns::<QUERIES, VECTORS>(weights, count, &value, block * VECTORS, stride, out);
    }
    for vector in blocks * VECTORS..vectors {
        gather_columns::<QUERIES, 1>(weights, count, &value, vector, stride, out);
    }
    if vectors * 8 == width {
        return;
    }
    for (query, weights) in weights.iter().enumerate() {
        let out = &mut out[query * stride..][vectors * 8..width];
        for (row, &weight) in weights.iter().enumerate().take(count) {
            (scalar::TABLE.add_scaled_f16)(out, weight, &value(row)[vectors * 8..]);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn gather_columns<'a, const QUERIES: usize, const VECTORS: usize>(
    weights: &[Scores; QUERIES],
    count: usize,
    value: &impl Fn(usize) -> &'a [f16],
    first: usize,
    stride: usize,
    out: &mut [f32],
) {
    let mut sums = [[_mm256_setzero_ps(); VECTORS]; QUERIES];
    for query in 0..QUERIES {
        let own = out[query * stride..].as_chunks().0;
        for vector in 0..VECTORS {
            sums[query][vector] = load_floats(&own[first + vector]);
        }
    }
    for row in 0..count {
        let halves: &[[f16; 8]; VECTORS] =
            value(row).as_chunks().0[first..].first_chunk().expect("as many vectors as the width has");
        for vector in 0..VECTORS {
            let halves = load_halves(&halves[vector]);
            for query in 0..QUERIES {
                let weight = _mm256_set1_ps(weights[query][row]);
                sums[query][vector] = _mm256_fmadd_ps(weight, halves, sums[query][vector]);
            }
        }
    }
    for query in 0..QUERIES {
        let own = out[query * stride..].as_chunks_mut().0;
        for vector in 0..VECTORS {
            store_floats(&mut own[first + vector], sums[query][vector]);
        }
    }
}
