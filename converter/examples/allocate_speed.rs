//! Times the allocation of 10,000 made-up experts with 8 candidates each: the median of several
//! problems, one line a kind.

#[path = "../tests/it/allocate_support/mod.rs"]
mod allocate_support;

use std::time::Instant;

use allocate_support::{Numbers, Shape, instance};
use hardtack_converter::allocate::{Candidate, Floor, Group, solve};

const ITEMS: usize = 10_000;
const LAYER: usize = 100;
const PROBLEMS: u64 = 15;

fn main() {
    for shape in [Shape::Equal, Shape::Unequal] {
        for floors in [false, true] {
            let mut times: Vec<f64> =
                (0..PROBLEMS).map(|seed| seconds(seed, shape, floors)).collect();
            times.sort_by(f64::total_cmp);
            let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
            println!(
                "{shape:?} sizes, floors {floors}: median {:.1} ms, worst {:.1} ms",
                median * 1e3,
                worst * 1e3
            );
        }
    }
}

fn seconds(seed: u64, shape: Shape, floors: bool) -> f64 {
    let mut numbers = Numbers::new(100 + seed);
    let items = instance(&mut numbers, ITEMS, 8, shape);
    let layer = |first: usize| Group {
        items: (first..first + LAYER).collect(),
        floors: vec![Floor { bits: 8, count: 1 }, Floor { bits: 7, count: 2 }],
    };
    let groups: Vec<Group> =
        if floors { (0..ITEMS).step_by(LAYER).map(layer).collect() } else { Vec::new() };
    let bits = 2 + seed as u32 % 4;
    let budget = items
        .iter()
        .flatten()
        .filter(|own: &&Candidate| own.bits == bits)
        .map(|own| own.bytes)
        .sum();
    let start = Instant::now();
    let found = solve(&items, &groups, budget).expect("a budget that works");
    let seconds = start.elapsed().as_secs_f64();
    if !found.exact {
        println!(
            "not exact: seed {seed}, {shape:?}, gap {:e} of {:e}",
            found.cost - found.bound,
            found.cost
        );
    }
    seconds
}
