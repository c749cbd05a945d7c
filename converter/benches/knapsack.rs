//! The allocation of 10,000 made-up experts with 8 candidates each.

#[path = "../tests/it/knapsack_support/mod.rs"]
mod knapsack_support;

use std::sync::atomic::{AtomicU64, Ordering};

use divan::Bencher;
use hardtack_converter::knapsack::solve;
use knapsack_support::{Numbers, Shape, instance};

const ITEMS: usize = 10_000;
const CANDIDATES: usize = 8;

fn main() {
    divan::main();
}

/// Every sample is another problem, at 2 to 5 bits an expert.
#[divan::bench(args = [Shape::Equal, Shape::Unequal], sample_count = 15, sample_size = 1)]
fn exact(bencher: Bencher<'_, '_>, shape: Shape) {
    let seed = AtomicU64::new(100);
    bencher
        .with_inputs(|| {
            let seed = seed.fetch_add(1, Ordering::Relaxed);
            let items = instance(&mut Numbers::new(seed), ITEMS, CANDIDATES, shape);
            let bits = 2 + seed as u32 % 4;
            let uniform = items.iter().flatten().filter(|own| own.bits == bits);
            let budget = uniform.map(|own| own.bytes).sum();
            (items, budget)
        })
        .bench_values(|(items, budget)| solve(&items, budget).expect("a budget that works"));
}
