//! RMS normalization (arXiv 1910.07467, equation 4).

use candle_core::{D, Result, Tensor};

/// `x / sqrt(mean(x^2) + epsilon) * gain` over the last dimension.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn rms_norm(x: &Tensor, gain: &Tensor, epsilon: f64) -> Result<Tensor> {
    let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
    let scale = (mean_square + epsilon)?.sqrt()?.recip()?;
    x.broadcast_mul(&scale)?.broadcast_mul(gain)
}
