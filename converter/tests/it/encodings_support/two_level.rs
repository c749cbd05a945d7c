//! Scales and minima of groups as small codes under two f16 numbers that many groups share.

use half::f16;

use super::group::{Book, Range};

/// Replaces the ranges of groups that are under one scale and one minimum by those that codes of
/// `bits` can say. Of the codes on either side of what a group would have, those with the least
/// squared error of the group's weights stay.
pub fn share_ranges(groups: &[&[f32]], book: &Book, bits: u32, ranges: &mut [Range]) {
    assert_eq!(groups.len(), ranges.len(), "a range for each group");
    let most = ((1u32 << bits) - 1) as f32;
    let largest = |numbers: &mut dyn Iterator<Item = f32>| {
        numbers.fold(
            0.0f32,
            |largest, number| if number.abs() > largest.abs() { number } else { largest },
        )
    };
    let scale = largest(&mut ranges.iter().map(|range| range.scale.abs()));
    let minimum = largest(&mut ranges.iter().map(|range| range.minimum));
    let shared = |largest: f32| f16::from_f32(largest / most).to_f32();
    let (scale, minimum) = (shared(scale), shared(minimum));
    for (range, weights) in ranges.iter_mut().zip(groups) {
        let mut best = (f32::INFINITY, Range::default());
        for scale in neighbours(range.scale.abs(), scale, most) {
            let wanted = mean_rest(weights, book, Range { scale, minimum: range.minimum });
            for minimum in neighbours(wanted, minimum, most) {
                let error = book.sums(weights, Range { scale, minimum }).error;
                if error < best.0 {
                    best = (error, Range { scale, minimum });
                }
            }
        }
        *range = best.1;
    }
}

/// The numbers below and above `wanted` that a code times `unit` can be.
fn neighbours(wanted: f32, unit: f32, most: f32) -> [f32; 2] {
    let place = if unit == 0.0 { 0.0 } else { wanted / unit };
    [place.floor(), place.ceil()].map(|code| code.clamp(0.0, most) * unit)
}

/// The best minimum for the codes that come from a range.
fn mean_rest(weights: &[f32], book: &Book, range: Range) -> f32 {
    let sums = book.sums(weights, range);
    (sums.weights - range.scale * sums.entries) / weights.len() as f32
}
