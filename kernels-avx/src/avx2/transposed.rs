//! Scores of many queries: keys are widened and transposed once for all of them. A vector then has
//! one column of several keys, and nothing is added up across its lanes.
//!
//! Each score is summed up in the order of [`super::attention`], which begins with sums of every
//! eighth product: a query gets the same bits from either.

use core::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_permute2f128_ps, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_shuffle_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use half::f16;
use hardtack_kernels::attention::{ROWS_MAX, Scores};

use super::memory::{load_f16, load_floats, store_floats};

/// From this many queries on, transposing the keys is worth it.
pub(super) const QUERIES_MIN: usize = 8;
/// The widest keys that are transposed: they stay in the first cache.
const WIDTH_MAX: usize = 256;
/// Queries at once, and keys: as many sums hide the latency of additions.
const QUERIES: usize = 4;
const KEYS: usize = 2 * LANES;
const LANES: usize = 8;
const _: () = assert!(ROWS_MAX.is_multiple_of(KEYS), "scores behind the last key have room");

/// Columns of some keys.
type Transposed = [[[f32; LANES]; KEYS / LANES]];
/// Of every query, one number of each key.
type Sums = [[__m256; KEYS / LANES]; QUERIES];

/// Whether keys of this width can be transposed.
pub(super) const fn takes(width: usize) -> bool {
    0 < width && width <= WIDTH_MAX && width.is_multiple_of(LANES)
}

/// Scores of all queries, as many as a multiple of [`QUERIES`], with `count` keys of a multiple of
/// eight columns.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn score(
    queries: &[[&[f32]; QUERIES]],
    keys: &[f16],
    count: usize,
    scores: &mut [[Scores; QUERIES]],
) {
    match queries.first().map_or(0, |[query, ..]| query.len()) {
        0..=64 => score_in(&mut [[[0.0; LANES]; KEYS / LANES]; 64], queries, keys, count, scores),
        65..=128 => {
            score_in(&mut [[[0.0; LANES]; KEYS / LANES]; 128], queries, keys, count, scores)
        }
        _ => score_in(&mut [[[0.0; LANES]; KEYS / LANES]; WIDTH_MAX], queries, keys, count, scores),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn score_in(
    transposed: &mut Transposed,
    queries: &[[&[f32]; QUERIES]],
    keys: &[f16],
    count: usize,
    scores: &mut [[Scores; QUERIES]],
) {
    let Some([query, ..]) = queries.first() else { return };
    let transposed = &mut transposed[..query.len()];
    for first in (0..count).step_by(KEYS) {
        for (eight, first) in [first, first + LANES].into_iter().enumerate() {
            transpose_keys(keys, count, first, eight, transposed);
        }
        let valid = KEYS.min(count - first);
        for (queries, scores) in queries.iter().zip(scores.iter_mut()) {
            let sums = products(transposed, queries);
            for query in 0..QUERIES {
                let scores = &mut scores[query][first..first + KEYS];
                add_to(scores.as_chunks_mut().0, sums[query], valid);
            }
        }
    }
}

/// Adds the sums of the first keys to their scores.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn add_to(scores: &mut [[f32; LANES]], sums: [__m256; KEYS / LANES], valid: usize) {
    for (eight, (scores, sums)) in scores.iter_mut().zip(sums).enumerate() {
        let sum = _mm256_add_ps(load_floats(scores), sums);
        if valid >= (eight + 1) * LANES {
            store_floats(scores, sum);
        } else {
            let mut all = [0.0; LANES];
            store_floats(&mut all, sum);
            let valid = valid.saturating_sub(eight * LANES);
            scores[..valid].copy_from_slice(&all[..valid]);
        }
    }
}

/// Transposes eight keys from `first` on; after the last key it is taken again.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn transpose_keys(
    keys: &[f16],
    count: usize,
    first: usize,
    eight: usize,
    transposed: &mut Transposed,
) {
    let width = transposed.len();
    let mut rows: [&[[f16; LANES]]; LANES] = [&[]; LANES];
    for (index, row) in rows.iter_mut().enumerate() {
        let key = (first + index).min(count - 1);
        *row = &keys[key * width..(key + 1) * width].as_chunks().0[..width / LANES];
    }
    for (block, columns) in transposed.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut vectors = [_mm256_setzero_ps(); LANES];
        for row in 0..LANES {
            vectors[row] = load_f16(&rows[row][block]);
        }
        let vectors = transpose(vectors);
        for column in 0..LANES {
            store_floats(&mut columns[column][eight], vectors[column]);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn transpose(rows: [__m256; LANES]) -> [__m256; LANES] {
    // Pairs of rows, then fours of them within each half of the lanes, then the halves.
    let mut pairs = rows;
    for row in (0..LANES).step_by(2) {
        pairs[row] = _mm256_unpacklo_ps(rows[row], rows[row + 1]);
        pairs[row + 1] = _mm256_unpackhi_ps(rows[row], rows[row + 1]);
    }
    let mut fours = pairs;
    for four in [0, 4] {
        for pair in 0..2 {
            let (low, high) = (pairs[four + pair], pairs[four + pair + 2]);
            fours[four + 2 * pair] = _mm256_shuffle_ps::<0x44>(low, high);
            fours[four + 2 * pair + 1] = _mm256_shuffle_ps::<0xEE>(low, high);
        }
    }
    let mut columns = fours;
    for column in 0..4 {
        columns[column] = _mm256_permute2f128_ps::<0x20>(fours[column], fours[column + 4]);
        columns[column + 4] = _mm256_permute2f128_ps::<0x31>(fours[column], fours[column + 4]);
    }
    columns
}

/// All products: pairs of sums are added, pairs of those, and the two that are left.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn products(transposed: &Transposed, queries: &[&[f32]; QUERIES]) -> Sums {
    let mut inputs: [&[[f32; LANES]]; QUERIES] = [&[]; QUERIES];
    for query in 0..QUERIES {
        inputs[query] = &queries[query].as_chunks().0[..transposed.len() / LANES];
    }
    let transposed = transposed.as_chunks().0;
    let mut total = sums(transposed, &inputs, 0);
    add(&mut total, sums(transposed, &inputs, 1));
    let mut pair = sums(transposed, &inputs, 2);
    add(&mut pair, sums(transposed, &inputs, 3));
    add(&mut total, pair);
    let mut four = sums(transposed, &inputs, 4);
    add(&mut four, sums(transposed, &inputs, 5));
    let mut pair = sums(transposed, &inputs, 6);
    add(&mut pair, sums(transposed, &inputs, 7));
    add(&mut four, pair);
    add(&mut total, four);
    total
}

/// The products of every eighth column.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn sums(
    transposed: &[[[[f32; LANES]; KEYS / LANES]; LANES]],
    inputs: &[&[[f32; LANES]]; QUERIES],
    column: usize,
) -> Sums {
    let mut sums = [[_mm256_setzero_ps(); KEYS / LANES]; QUERIES];
    for block in 0..transposed.len() {
        let [first, second] = &transposed[block][column];
        let keys = [load_floats(first), load_floats(second)];
        for query in 0..QUERIES {
            let input = _mm256_set1_ps(inputs[query][block][column]);
            for eight in 0..2 {
                sums[query][eight] = _mm256_fmadd_ps(input, keys[eight], sums[query][eight]);
            }
        }
    }
    sums
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn add(sums: &mut Sums, more: Sums) {
    for query in 0..QUERIES {
        for eight in 0..KEYS / LANES {
            sums[query][eight] = _mm256_add_ps(sums[query][eight], more[query][eight]);
        }
    }
}
