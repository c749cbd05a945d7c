//! The Hadamard transform of a vector spreads what one element has over all of them. The range of a
//! token's values is then small against their size. It keeps lengths and is its own inverse.

use core::f32::consts::FRAC_1_SQRT_2;

/// Transforms `values` in blocks of the largest power of two that divides their number. Done twice,
/// it changes nothing.
pub fn hadamard(values: &mut [f32]) {
    let stages = values.len().trailing_zeros();
    if values.is_empty() || stages == 0 {
        return;
    }
    let whole = 1.0 / (1u64 << (stages / 2)) as f32;
    let scale = if stages.is_multiple_of(2) { whole } else { whole * FRAC_1_SQRT_2 };
    for block in values.chunks_exact_mut(1 << stages) {
        for stage in 0..stages {
            let half = 1 << stage;
            for pair in block.chunks_exact_mut(2 * half) {
                let (first, second) = pair.split_at_mut(half);
                for (a, b) in first.iter_mut().zip(second) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
        }
        block.iter_mut().for_each(|value| *value *= scale);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn it_keeps_lengths_spreads_peaks_and_is_its_own_inverse() {
        for width in [64, 32, 80, 6, 7, 0] {
            let mut values: Vec<f32> =
                (0..width).map(|at| if at == 3 { 8.0 } else { 0.01 * at as f32 }).collect();
            let before = values.clone();
            let square = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>();
            hadamard(&mut values);
            assert!((square(&values) - square(&before)).abs() < 1e-3, "{width}");
            if width == 64 {
                assert!(values.iter().all(|value| value.abs() < 4.0), "{values:?}");
            }
            hadamard(&mut values);
            assert!(values.iter().zip(&before).all(|(a, b)| (a - b).abs() < 1e-5), "{width}");
        }
    }
}
