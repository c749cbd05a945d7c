//! Uniform codes for a group of weights: `weight = scale * code + minimum`, the range found by
//! search.
//!
//! Rounding to nearest over the full range wastes codes on outliers: at 2 bits it has twice the
//! squared error of the best range on normal weights. So the range is shrunk in steps; for each,
//! the codes are taken and the scale and the minimum are fitted to them by least squares; the codes
//! with the least squared error stay.

use half::f16;
use hardtack_format::encoding::GROUP_COLUMNS;

/// Codes of one group with their scale and minimum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// One code for each weight; those after the last weight are 0.
    pub codes: [u8; GROUP_COLUMNS],
    /// Weight of one step.
    pub scale: f16,
    /// Weight of code 0.
    pub minimum: f16,
}

/// The shares of the full range that are tried at these bits.
const fn shares(bits: u32) -> &'static [f32] {
    match bits {
        0..=2 => &[1.0, 0.94, 0.88, 0.82, 0.76, 0.7, 0.64, 0.58, 0.52],
        3 => &[1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7],
        4 => &[1.0, 0.96, 0.92, 0.88, 0.84],
        5 | 6 => &[1.0, 0.98],
        _ => &[1.0],
    }
}

/// Quantizes a group of at most 64 finite weights. The scale or the minimum is infinite where half
/// floats cannot hold it.
pub fn quantize(weights: &[f32], bits: u32) -> Group {
    search(weights, &[1.0; GROUP_COLUMNS], bits)
}

/// The same where errors of some weights count more than those of others: an importance for each
/// weight, 0 or more.
pub fn search(weights: &[f32], importance: &[f32], bits: u32) -> Group {
    assert!(
        (1..=GROUP_COLUMNS).contains(&weights.len()) && importance.len() >= weights.len(),
        "one group"
    );
    let (low, high) =
        weights.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &weight| {
            (low.min(weight), high.max(weight))
        });
    let levels = ((1u32 << bits) - 1) as f32;
    let (middle, range) = (0.5 * low + 0.5 * high, high - low);
    let mut best: Option<(f32, Group)> = None;
    for share in shares(bits) {
        let (scale, minimum) = (range * share / levels, middle - 0.5 * range * share);
        let first = round(weights, scale, minimum, bits);
        let (scale, minimum) = fit(weights, importance, &first.codes).unwrap_or((scale, minimum));
        for group in [first, round(weights, scale, minimum, bits)] {
            let error = squared_error(weights, importance, &group);
            // The first candidate stays where no error is a number (weights that f16 cannot
            // hold).
            if best.as_ref().is_none_or(|(least, _)| error < *least) {
                best = Some((error, group));
            }
        }
    }
    best.expect("at least one share is tried").1
}

/// The weights that codes can stand for: a scale and a minimum as f16 keeps them.
#[derive(Clone, Copy, Debug)]
pub struct Levels {
    scale: f32,
    inverse: f32,
    minimum: f32,
    highest: f32,
}

impl Levels {
    /// The levels of codes with this many bits.
    pub fn new(scale: f16, minimum: f16, bits: u32) -> Self {
        let inverse = if scale == f16::ZERO { 0.0 } else { scale.to_f32().recip() };
        Self {
            scale: scale.to_f32(),
            inverse,
            minimum: minimum.to_f32(),
            highest: ((1u32 << bits) - 1) as f32,
        }
    }

    /// The code whose level is nearest.
    pub fn nearest(&self, weight: f32) -> u8 {
        // `as` saturates, so what lies outside the range takes its nearest end.
        ((weight - self.minimum) * self.inverse + 0.5).clamp(0.0, self.highest) as u8
    }

    /// The weight of a code, in the arithmetic of the kernels.
    pub fn weight(&self, code: u8) -> f32 {
        self.scale * f32::from(code) + self.minimum
    }
}

/// Rounds to the nearest codes of a scale and a minimum, as f16 keeps them.
fn round(weights: &[f32], scale: f32, minimum: f32, bits: u32) -> Group {
    let (scale, minimum) = (f16::from_f32(scale), f16::from_f32(minimum));
    let levels = Levels::new(scale, minimum, bits);
    let mut codes = [0; GROUP_COLUMNS];
    for (code, &weight) in codes.iter_mut().zip(weights) {
        *code = levels.nearest(weight);
    }
    Group { codes, scale, minimum }
}

/// The scale and the minimum with the least squared error for these codes; none where all codes
/// are equal.
fn fit(weights: &[f32], importance: &[f32], codes: &[u8]) -> Option<(f32, f32)> {
    let (mut count, mut sum_code, mut sum_square, mut sum_weight, mut sum_product) =
        (0.0f32, 0.0, 0.0, 0.0, 0.0);
    for ((&weight, &share), &code) in weights.iter().zip(importance).zip(codes) {
        let code = f32::from(code);
        count += share;
        sum_code += share * code;
        sum_square += share * (code * code);
        sum_weight += share * weight;
        sum_product += share * (code * weight);
    }
    let determinant = count * sum_square - sum_code * sum_code;
    if determinant <= 0.0 {
        return None;
    }
    let scale = (count * sum_product - sum_code * sum_weight) / determinant;
    Some((scale, (sum_weight - scale * sum_code) / count))
}

fn squared_error(weights: &[f32], importance: &[f32], group: &Group) -> f32 {
    let (scale, minimum) = (group.scale.to_f32(), group.minimum.to_f32());
    let error = |((&weight, &share), &code): ((&f32, &f32), &u8)| {
        let difference = weight - (scale * f32::from(code) + minimum);
        share * (difference * difference)
    };
    weights.iter().zip(importance).zip(&group.codes).map(error).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Normal numbers by the sum of twelve uniform ones, from a fixed sequence.
    fn normal(count: usize) -> Vec<f32> {
        let mut state = 7u64;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
    }

    fn relative_error(bits: u32) -> f32 {
        let weights = normal(64 * 400);
        let error: f32 = weights
            .chunks(64)
            .map(|group| squared_error(group, &[1.0; 64], &quantize(group, bits)))
            .sum();
        error / weights.iter().map(|weight| weight * weight).sum::<f32>()
    }

    #[test]
    fn the_search_beats_the_full_range() {
        // Relative squared errors simulated for groups of 128 normal weights: 0.249, 0.046, 0.010
        // for the full range; 0.114, 0.033, 0.009 for the best range with a free zero point. Groups
        // of 64 must do at least as well.
        for (bits, most) in [(2, 0.114), (3, 0.033), (4, 0.009)] {
            assert!(relative_error(bits) < most, "{bits} bits: {}", relative_error(bits));
        }
        assert!(relative_error(8) < 4e-5);
    }

    #[test]
    fn odd_groups_are_exact_where_they_can_be() {
        let constant = quantize(&[0.375; 7], 4);
        assert_eq!(squared_error(&[0.375; 7], &[1.0; 7], &constant), 0.0);
        let two = quantize(&[-1.0, 2.0], 2);
        assert_eq!(squared_error(&[-1.0, 2.0], &[1.0; 2], &two), 0.0);
        assert!(!quantize(&[1e6, -1e6], 4).minimum.is_finite());
    }
}
