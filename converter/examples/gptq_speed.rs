//! Times the calibration of one made-up expert matrix: 1024 rows, 2048 columns, 4096 tokens.

#[path = "../tests/it/gptq_support/mod.rs"]
mod gptq_support;

use std::time::Instant;

use gptq_support::Normal;
use hardtack_converter::quantize::{DAMPING, Feedback, Hessian, quantize};

const ROWS: usize = 1024;
const COLUMNS: usize = 2048;
const TOKENS: usize = 4096;

fn main() {
    let mut normal = Normal::new(1);
    let (weights, activations) =
        (normal.many(ROWS * COLUMNS), normal.correlated(TOKENS, COLUMNS, 0.9));
    let mut hessian = Hessian::new(COLUMNS);
    let start = Instant::now();
    for batch in activations.chunks(512 * COLUMNS) {
        hessian.add(batch, None).expect("finite activations");
    }
    println!("Hessian of {TOKENS} tokens: {:.2} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let feedback = Feedback::new(&hessian, None, DAMPING).expect("a finite Hessian");
    println!("factor of {COLUMNS} columns: {:.2} s", start.elapsed().as_secs_f64());
    for bits in [2, 3, 4, 8] {
        let start = Instant::now();
        let found = quantize(&weights, bits, &feedback).expect("finite weights");
        let with_feedback = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let plain = quantize(&weights, bits, &Feedback::none(COLUMNS)).expect("finite weights");
        let plainly = start.elapsed().as_secs_f64();
        let error = |found: Vec<f32>| {
            let difference: Vec<f32> = weights.iter().zip(found).map(|(a, b)| a - b).collect();
            hessian.error(&difference[..64 * COLUMNS])
        };
        let relative = error(found.weights()) / error(plain.weights());
        println!(
            "{bits} bits: {with_feedback:.2} s, plain {plainly:.2} s; error {relative:.3} of plain"
        );
    }
}
