//! Rotary position embedding (arXiv 2104.09864): turns pairs of elements by an angle that grows
//! with the position.

use candle_core::{D, DType, Device, Result, Tensor};

/// Sines and cosines of all positions of a sequence, `[tokens, frequencies]` each.
#[derive(Clone, Debug)]
pub struct Turns {
    sine: Tensor,
    cosine: Tensor,
}

impl Turns {
    /// The turns of positions `0..tokens` at these angular frequencies, as the runtime rounds them:
    /// the angle to single precision, its sine and cosine in double.
    ///
    /// # Errors
    /// The table cannot be made.
    pub fn new(frequencies: &[f32], tokens: usize, dtype: DType) -> Result<Self> {
        let angles = (0..tokens).flat_map(|position| {
            frequencies
                .iter()
                .map(move |frequency| f64::from(position as f32 * frequency).sin_cos())
        });
        let (sines, cosines): (Vec<f64>, Vec<f64>) = angles.unzip();
        let table = |values: Vec<f64>| {
            let rounded: Vec<f64> =
                values.into_iter().map(|value| f64::from(value as f32)).collect();
            Tensor::from_vec(rounded, (tokens, frequencies.len()), &Device::Cpu)?.to_dtype(dtype)
        };
        Ok(Self { sine: table(sines)?, cosine: table(cosines)? })
    }
}

/// Turns element `i` of `x [heads, tokens, width]` with element `i + width / 2`; `scale` multiplies
/// the result.
///
/// # Errors
/// There are fewer turns than tokens or pairs.
pub fn rotate(x: &Tensor, turns: &Turns, scale: f64) -> Result<Tensor> {
    let (_, tokens, width) = x.dims3()?;
    let half = width / 2;
    let table = |table: &Tensor| table.narrow(0, 0, tokens)?.narrow(1, 0, half)? * scale;
    let (sine, cosine) = (table(&turns.sine)?, table(&turns.cosine)?);
    let (a, b) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let first = (a.broadcast_mul(&cosine)? - b.broadcast_mul(&sine)?)?;
    let second = (b.broadcast_mul(&cosine)? + a.broadcast_mul(&sine)?)?;
    Tensor::cat(&[first, second], D::Minus1)
}
