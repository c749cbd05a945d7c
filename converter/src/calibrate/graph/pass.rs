//! What all layers of a forward pass share.

use candle_core::{DType, Result, Tensor};
use hardtack_format::spec::ModelSpec;

use super::rope::Turns;

/// What all layers of a pass share.
#[derive(Clone, Debug)]
pub struct Pass {
    /// RoPE's turns, for the longest sequence there is.
    pub turns: Turns,
    /// Added to the mean square inside every normalization.
    pub epsilon: f64,
    /// Multiplies each block's output before it joins the stream.
    pub residual_scale: f64,
}

impl Pass {
    /// For sequences of up to `tokens` tokens.
    ///
    /// # Errors
    /// The table of turns cannot be made.
    pub fn new(spec: &ModelSpec, frequencies: &[f32], tokens: usize, dtype: DType) -> Result<Self> {
        Ok(Self {
            turns: Turns::new(frequencies, tokens, dtype)?,
            epsilon: f64::from(spec.norm_epsilon),
            residual_scale: f64::from(spec.residual_scale),
        })
    }

    /// `stream + residual_scale * output`
    ///
    /// # Errors
    /// Shapes or types of numbers do not agree.
    pub fn join(&self, stream: &Tensor, output: &Tensor) -> Result<Tensor> {
        stream + (output * self.residual_scale)?
    }
}
