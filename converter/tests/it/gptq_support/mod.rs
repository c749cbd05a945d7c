//! Made-up weights and activations from fixed numbers.
#![allow(dead_code, reason = "each test uses its part")]

/// The same normal numbers every time: sums of twelve uniform ones.
pub struct Normal(u64);

impl Normal {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn uniform(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }

    pub fn one(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }

    pub fn many(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.one()).collect()
    }

    /// Activations `[tokens, columns]` of which each column resembles the one before it.
    pub fn correlated(&mut self, tokens: usize, columns: usize, correlation: f32) -> Vec<f32> {
        let fresh = (1.0 - correlation * correlation).sqrt();
        let mut all = Vec::with_capacity(tokens * columns);
        for _ in 0..tokens {
            let mut last = self.one();
            for _ in 0..columns {
                all.push(last);
                last = correlation * last + fresh * self.one();
            }
        }
        all
    }
}
