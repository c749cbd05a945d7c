//! Queries times keys and weights times values, both in f16. Widening an f16 costs as much as a
//! product, so a row is widened once for several queries.

use core::arch::x86_64::{
    __m256, _mm_add_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps,
    _mm256_hadd_ps, _mm256_set1_ps, _mm256_setzero_ps,
};

use half::f16;
use hardtack_kernels::attention::{ROWS_MAX, Scores, check_gather, check_scores};
use hardtack_kernels::scalar;

use super::memory::{load_f16, load_floats, prefetch_ahead, store_floats, store_four_floats};
use super::transposed;

/// Most sums of products that are held at once in scores: as many chains of additions hide their
/// latency.
const SUMS: usize = 8;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn score_f16(queries: &[&[f32]], keys: &[f16], scores: &mut [Scores]) {
    let count = check_scores(queries, keys, scores);
    let width = queries.first().map_or(0, |query| query.len());
    let (fours, rest) = queries.as_chunks();
    let (four_scores, rest_scores) = scores.as_chunks_mut();
    if queries.len() >= transposed::QUERIES_MIN && transposed::takes(width) {
        transposed::score(fours, keys, count, four_scores);
    } else {
        fours
            .iter()
            .zip(four_scores)
            .for_each(|(queries, scores)| score::<4, 2>(queries, keys, count, scores));
    }
    // Three, two, one or none are left.
    if let (Ok(queries), Ok(scores)) = (rest.try_into(), rest_scores.try_into()) {
        score::<3, 2>(queries, keys, count, scores);
    } else if let (Ok(queries), Ok(scores)) = (rest.try_into(), rest_scores.try_into()) {
        score::<2, 4>(queries, keys, count, scores);
    } else if let (Ok(queries), Ok(scores)) = (rest.try_into(), rest_scores.try_into()) {
        score::<1, SUMS>(queries, keys, count, scores);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gather_f16(weights: &[Scores], values: &[f16], width: usize, out: &mut [f32]) {
    let (count, stride) = check_gather(weights, values, width, out);
    let (fours, rest) = weights.as_chunks();
    let (four_outs, rest_out) = out.split_at_mut(fours.len() * 4 * stride);
    let values = Values { halves: values, count, width };
    for (weights, out) in fours.iter().zip(four_outs.chunks_exact_mut(4 * stride.max(1))) {
        gather::<4, 2>(weights, values, stride, out);
    }
    if let Ok(weights) = rest.try_into() {
        gather::<3, 4>(weights, values, stride, rest_out);
    } else if let Ok(weights) = rest.try_into() {
        gather::<2, 4>(weights, values, stride, rest_out);
    } else if let Ok(weights) = rest.try_into() {
        gather::<1, SUMS>(weights, values, stride, rest_out);
    }
}

/// Scores of some queries, `KEYS` keys at a time. After the last key it is taken again, and those
/// scores are thrown away.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn score<const QUERIES: usize, const KEYS: usize>(
    queries: &[&[f32]; QUERIES],
    keys: &[f16],
    count: usize,
    scores: &mut [Scores; QUERIES],
) {
    const { assert!(QUERIES * KEYS <= SUMS) };
    let width = queries[0].len();
    let tail = width / 8 * 8;
    let mut vectors: [&[[f32; 8]]; QUERIES] = [&[]; QUERIES];
    for query in 0..QUERIES {
        vectors[query] = &queries[query].as_chunks().0[..width / 8];
    }
    for first in (0..count).step_by(KEYS) {
        let mut rows: [&[f16]; KEYS] = [&[]; KEYS];
        for at in 0..KEYS {
            let key = (first + at).min(count - 1);
            rows[at] = &keys[key * width..(key + 1) * width];
            prefetch_ahead(rows[at]);
        }
        let mut sums = reduce(dots(&vectors, &rows));
        if tail < width {
            for query in 0..QUERIES {
                for at in 0..KEYS {
                    let rest = (scalar::TABLE.dot_f16)(&queries[query][tail..], &rows[at][tail..]);
                    sums[query * KEYS + at] += rest;
                }
            }
        }
        for (scores, sums) in scores.iter_mut().zip(sums.chunks_exact(KEYS)) {
            let scores = &mut scores[first..count.min(first + KEYS)];
            // Without counting where there are as many as usual.
            match scores.first_chunk_mut::<KEYS>() {
                Some(scores) => scores.iter_mut().zip(sums).for_each(|(score, sum)| *score += sum),
                None => scores.iter_mut().zip(sums).for_each(|(score, sum)| *score += sum),
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn dots<const QUERIES: usize, const KEYS: usize>(
    queries: &[&[[f32; 8]]; QUERIES],
    rows: &[&[f16]; KEYS],
) -> [__m256; SUMS] {
    let length = queries[0].len();
    // Cut to the one length, so that the loop below needs no checks.
    let (mut queries, mut keys): (_, [&[[f16; 8]]; KEYS]) = (*queries, [&[]; KEYS]);
    for query in 0..QUERIES {
        queries[query] = &queries[query][..length];
    }
    for key in 0..KEYS {
        keys[key] = &rows[key].as_chunks().0[..length];
    }
    let mut sums = [_mm256_setzero_ps(); SUMS];
    for at in 0..length {
        let mut halves = [_mm256_setzero_ps(); KEYS];
        for key in 0..KEYS {
            halves[key] = load_f16(&keys[key][at]);
        }
        for query in 0..QUERIES {
            let floats = load_floats(&queries[query][at]);
            for key in 0..KEYS {
                sums[query * KEYS + key] =
                    _mm256_fmadd_ps(floats, halves[key], sums[query * KEYS + key]);
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
        store_four_floats(
            sums,
            _mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps::<1>(four)),
        );
    }
    sums
}

/// Values `[count, width]`.
#[derive(Clone, Copy)]
struct Values<'a> {
    halves: &'a [f16],
    count: usize,
    width: usize,
}

/// Adds the values to some queries' outputs, `VECTORS` vectors of columns at a time.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn gather<const QUERIES: usize, const VECTORS: usize>(
    weights: &[Scores; QUERIES],
    values: Values<'_>,
    stride: usize,
    out: &mut [f32],
) {
    let vectors = values.width / 8;
    let blocks = vectors / VECTORS;
    for block in 0..blocks {
        gather_columns::<QUERIES, VECTORS>(weights, values, block * VECTORS, stride, out);
    }
    for vector in blocks * VECTORS..vectors {
        gather_columns::<QUERIES, 1>(weights, values, vector, stride, out);
    }
    let rest = vectors * 8..values.width;
    if rest.is_empty() {
        return;
    }
    for (query, weights) in weights.iter().enumerate() {
        let out = &mut out[query * stride..][rest.clone()];
        for (value, &weight) in values.halves.chunks_exact(values.width).zip(weights) {
            (scalar::TABLE.add_scaled_f16)(out, weight, &value[rest.clone()]);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn gather_columns<const QUERIES: usize, const VECTORS: usize>(
    weights: &[Scores; QUERIES],
    values: Values<'_>,
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
    for row in 0..values.count.min(ROWS_MAX) {
        let value = &values.halves[row * values.width..(row + 1) * values.width];
        let halves: &[[f16; 8]; VECTORS] =
            value.as_chunks().0[first..].first_chunk().expect("as many vectors as the width has");
        // Only these columns: their number is a constant, and prefetching a line twice costs less
        // than counting.
        prefetch_ahead(halves);
        for vector in 0..VECTORS {
            let halves = load_f16(&halves[vector]);
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
