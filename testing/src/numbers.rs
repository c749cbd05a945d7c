//! Numbers from a fixed sequence.

/// Uniform numbers from a fixed sequence.
pub struct Numbers(pub u64);

impl Numbers {
    /// In `-1.0..1.0`.
    pub fn signed(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// Below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        ((self.signed() + 1.0) / 2.0 * count as f64) as usize % count
    }
}
