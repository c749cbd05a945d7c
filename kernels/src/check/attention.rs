//! Holds products of several queries with f16 rows to scalar. The result of one query must not
//! depend on the others, to the bit.

use alloc::vec;
use alloc::vec::Vec;

use half::f16;

use super::bounds::{allowed, same_bits};
use super::data::{Data, Random};
use crate::attention::{ROWS_MAX, Scores};
use crate::scalar;
use crate::table::KernelTable;

const WIDTHS: [usize; 10] = [1, 7, 8, 16, 64, 80, 99, 128, 256, 264];
const ROWS: [usize; 7] = [0, 1, 2, 7, 8, 33, ROWS_MAX];
const QUERIES_MAX: usize = 13;

/// Holds `score_f16` and `gather_f16`.
pub fn check_attention(table: &KernelTable) {
    for width in WIDTHS {
        for rows in ROWS {
            for data in Data::ALL {
                let mut random = Random((width * 100 + rows) as u64);
                let mut halves = |count: usize| -> Vec<f16> {
                    random.floats(count, data.of_f16()).into_iter().map(f16::from_f32).collect()
                };
                let rows = halves(rows * width);
                let queries = Random(width as u64).floats(QUERIES_MAX * width, data);
                check_scores(table, width, &rows, &queries, data);
                check_gather(table, width, &rows, data);
            }
        }
    }
}

fn check_scores(table: &KernelTable, width: usize, keys: &[f16], queries: &[f32], data: Data) {
    let queries: Vec<&[f32]> = queries.chunks_exact(width).collect();
    let count = keys.len() / width;
    let start: Vec<Scores> = (0..QUERIES_MAX).map(|query| [query as f32 - 3.0; ROWS_MAX]).collect();
    let run = |table: &KernelTable, from: usize, to: usize| {
        let mut scores = start[from..to].to_vec();
        (table.score_f16)(&queries[from..to], keys, &mut scores);
        scores
    };
    let (ours, truth) = (run(table, 0, QUERIES_MAX), run(&scalar::TABLE, 0, QUERIES_MAX));
    for query in 0..QUERIES_MAX {
        for row in 0..ROWS_MAX {
            let (ours, expected) = (ours[query][row], truth[query][row]);
            let key = keys.iter().skip(row * width).take(width).map(|half| half.to_f32());
            let products = queries[query].iter().copied().zip(key).chain([(start[query][0], 1.0)]);
            let off = if row < count { allowed(products) } else { 0.0 };
            assert!(
                f64::from((ours - expected).abs()) <= off,
                "{}: score_f16, {width} wide, {count} keys, {data:?}: query {query}, key {row}: \
                 {ours:e} is not scalar's {expected:e} within {off:e}",
                table.name
            );
        }
    }
    for from in 0..QUERIES_MAX {
        for to in from..=QUERIES_MAX {
            let alone = run(table, from, to);
            let same = alone
                .iter()
                .zip(&ours[from..to])
                .all(|(alone, together)| same_bits(alone, together));
            assert!(
                same,
                "{}: score_f16, {width} wide: queries {from} to {to} among others",
                table.name
            );
        }
    }
}

fn check_gather(table: &KernelTable, width: usize, values: &[f16], data: Data) {
    let count = values.len() / width;
    let mut random = Random(width as u64 + 11);
    let weights: Vec<Scores> = (0..QUERIES_MAX)
        .map(|_| {
            random.floats(ROWS_MAX, Data::Ordinary).try_into().expect("as many as were asked for")
        })
        .collect();
    // Wider than the values: what comes after them stays.
    let stride = width + 3;
    let start = random.floats(QUERIES_MAX * stride, data.of_f16());
    let run = |table: &KernelTable, from: usize, to: usize| {
        let mut out = start[from * stride..to * stride].to_vec();
        (table.gather_f16)(&weights[from..to], values, width, &mut out);
        out
    };
    let (ours, truth) = (run(table, 0, QUERIES_MAX), run(&scalar::TABLE, 0, QUERIES_MAX));
    for (at, (&ours, &expected)) in ours.iter().zip(&truth).enumerate() {
        let (query, column) = (at / stride, at % stride);
        let column_values = values.iter().skip(column).step_by(width).map(|half| half.to_f32());
        let products = weights[query].iter().copied().zip(column_values).chain([(start[at], 1.0)]);
        let off = if column < width { allowed(products) } else { 0.0 };
        assert!(
            f64::from((ours - expected).abs()) <= off,
            "{}: gather_f16, {width} wide, {count} values, {data:?}: query {query}, column \
             {column}: {ours:e} is not scalar's {expected:e} within {off:e}",
            table.name
        );
    }
    for from in 0..QUERIES_MAX {
        for to in from..=QUERIES_MAX {
            let same = same_bits(&run(table, from, to), &ours[from * stride..to * stride]);
            assert!(
                same,
                "{}: gather_f16, {width} wide: queries {from} to {to} among others",
                table.name
            );
        }
    }
}

/// Calls with lengths that do not agree.
pub fn wrong_lengths(table: &KernelTable, must_panic: &mut impl FnMut(&str, &dyn Fn())) {
    let (query, short, halves) = ([1.0; 8], [1.0; 7], vec![f16::ONE; 65 * 8]);
    let score = |queries: &[&[f32]], keys: usize, scores: usize| {
        (table.score_f16)(queries, &halves[..keys], &mut vec![[0.0; ROWS_MAX]; scores]);
    };
    must_panic("score_f16: queries", &|| score(&[&query, &short], 8, 2));
    must_panic("score_f16: keys", &|| score(&[&query], 9, 1));
    must_panic("score_f16: too many keys", &|| score(&[&query], 65 * 8, 1));
    must_panic("score_f16: scores", &|| score(&[&query], 8, 2));
    let gather = |weights: usize, values: usize, out: usize| {
        (table.gather_f16)(
            &vec![[0.0; ROWS_MAX]; weights],
            &halves[..values],
            8,
            &mut vec![0.0; out],
        );
    };
    must_panic("gather_f16: values", &|| gather(1, 9, 8));
    must_panic("gather_f16: too many values", &|| gather(1, 65 * 8, 8));
    must_panic("gather_f16: outputs", &|| gather(2, 8, 17));
    must_panic("gather_f16: narrow outputs", &|| gather(2, 8, 14));
}
