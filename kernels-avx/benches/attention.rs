//! How fast queries are multiplied with keys and weights with values that are kept in f16, on one
//! thread, by the number of queries. Beside them, reading the same bytes.
//!
//! `HARDTACK_MEGABYTES=1 cargo bench -p hardtack-kernels-avx --bench attention`

use divan::Bencher;
use divan::counter::BytesCount;
use half::f16;
use hardtack_kernels::KernelTable;
use hardtack_kernels::attention::{ROWS_MAX, Scores};
use hardtack_kernels_avx::avx2;

const QUERIES: [usize; 7] = [1, 2, 3, 4, 6, 8, 16];
/// Of a key and of a value.
const WIDTH: usize = 64;
const CHUNK: usize = ROWS_MAX * WIDTH;

fn main() {
    divan::main();
}

fn table() -> &'static KernelTable {
    avx2().expect("a processor with AVX2")
}

/// Whole chunks of keys or values.
fn rows() -> Vec<f16> {
    let megabytes = std::env::var("HARDTACK_MEGABYTES").map_or(64, |text| text.parse().unwrap());
    let count = (megabytes << 19) / CHUNK * CHUNK;
    (0..count).map(|at| f16::from_f32((at % 97) as f32 * 0.01)).collect()
}

#[divan::bench(max_time = 0.6)]
fn read(bencher: Bencher<'_, '_>) {
    let rows = rows();
    bencher
        .counter(BytesCount::of_slice(&rows))
        .bench_local(|| rows.iter().fold(0, |bits, half| bits ^ half.to_bits()));
}

#[divan::bench(args = QUERIES, max_time = 0.6)]
fn scores(bencher: Bencher<'_, '_>, count: usize) {
    let (rows, query) = (rows(), vec![0.5; WIDTH]);
    let queries = vec![&query[..]; count];
    let mut scores: Vec<Scores> = vec![[0.0; ROWS_MAX]; count];
    bencher.counter(BytesCount::of_slice(&rows)).bench_local(|| {
        for keys in rows.chunks_exact(CHUNK) {
            (table().score_f16)(&queries, keys, divan::black_box(&mut scores));
        }
    });
}

#[divan::bench(args = QUERIES, max_time = 0.6)]
fn values(bencher: Bencher<'_, '_>, count: usize) {
    let rows = rows();
    let weights: Vec<Scores> = vec![[0.01; ROWS_MAX]; count];
    let mut out = vec![0.0; count * WIDTH];
    bencher.counter(BytesCount::of_slice(&rows)).bench_local(|| {
        for values in rows.chunks_exact(CHUNK) {
            (table().gather_f16)(&weights, values, WIDTH, divan::black_box(&mut out));
        }
    });
}
