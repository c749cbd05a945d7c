//! Made-up problems from fixed numbers.
#![allow(dead_code, reason = "each test uses its part")]

use hardtack_converter::knapsack::Candidate;

/// The same numbers every time (a linear congruential generator, high bits only).
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    pub fn unit(&mut self) -> f64 {
        self.below(1 << 30) as f64 / (1u64 << 30) as f64
    }
}

/// What the items are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Experts of one shape: the same sizes, costs of any size that need not be convex.
    Equal,
    /// Sizes of their own.
    Unequal,
    /// Small whole numbers as costs, so that there are ties.
    Whole,
}

/// Items with candidates of 1, 2, 3, ... bits, not in order of bytes for every item.
pub fn instance(
    numbers: &mut Numbers,
    items: usize,
    candidates: usize,
    shape: Shape,
) -> Vec<Vec<Candidate>> {
    (0..items)
        .map(|_| {
            let size = if shape == Shape::Equal { 3_145_728 } else { 1 + numbers.below(5_000_000) };
            let damage = (numbers.unit() * 9.0).exp();
            let candidate = |bits: u32| {
                let noise = 0.2 + numbers.unit();
                let cost = damage * noise / f64::from(1u32 << (2 * bits));
                let cost = if shape == Shape::Whole { numbers.below(6) as f64 } else { cost };
                let bytes = if shape == Shape::Whole {
                    1 + numbers.below(9)
                } else {
                    size * u64::from(bits) / 8 + size / 16
                };
                Candidate { bits, bytes, cost }
            };
            (1..=candidates as u32).map(candidate).collect()
        })
        .collect()
}
