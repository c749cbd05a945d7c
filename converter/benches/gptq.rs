//! The quantization of one made-up expert matrix: 1024 rows, 2048 columns, 4096 tokens.

#[path = "../tests/it/gptq_support/mod.rs"]
mod gptq_support;

use divan::Bencher;
use gptq_support::Normal;
use hardtack_converter::quantize::{DAMPING, Feedback, Hessian, quantize};

const ROWS: usize = 1024;
const COLUMNS: usize = 2048;
const TOKENS: usize = 4096;

fn main() {
    divan::main();
}

fn hessian() -> Hessian {
    let mut hessian = Hessian::new(COLUMNS);
    let activations = Normal::new(1).correlated(TOKENS, COLUMNS, 0.9);
    for batch in activations.chunks(512 * COLUMNS) {
        hessian.add(batch, None).expect("finite activations");
    }
    hessian
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn hessian_of_512_tokens(bencher: Bencher<'_, '_>) {
    let activations = Normal::new(1).correlated(512, COLUMNS, 0.9);
    let mut hessian = Hessian::new(COLUMNS);
    bencher.bench_local(|| hessian.add(&activations, None).expect("finite activations"));
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn factor(bencher: Bencher<'_, '_>) {
    let hessian = hessian();
    bencher.bench_local(|| Feedback::new(&hessian, None, DAMPING).expect("a finite Hessian"));
}

#[divan::bench(args = [2, 3, 4, 8], sample_count = 3, sample_size = 1)]
fn with_feedback(bencher: Bencher<'_, '_>, bits: u32) {
    let weights = Normal::new(2).many(ROWS * COLUMNS);
    let feedback = Feedback::new(&hessian(), None, DAMPING).expect("a finite Hessian");
    bencher.bench_local(|| quantize(&weights, bits, &feedback).expect("finite weights"));
}

#[divan::bench(args = [2, 3, 4, 8], sample_count = 3, sample_size = 1)]
fn rounded(bencher: Bencher<'_, '_>, bits: u32) {
    let weights = Normal::new(2).many(ROWS * COLUMNS);
    let feedback = Feedback::none(COLUMNS);
    bencher.bench_local(|| quantize(&weights, bits, &feedback).expect("finite weights"));
}
