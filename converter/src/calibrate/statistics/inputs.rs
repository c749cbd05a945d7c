//! What goes into the matrices of experts and dense blocks, for those who want more than costs:
//! Hessians of GPTQ.

use crate::calibrate::error::CalibrateError;

/// Whose inputs they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Of a routed expert's gate and up projections.
    Expert {
        /// Its layer.
        layer: usize,
        /// Its number.
        expert: usize,
    },
    /// Of a routed expert's down projection.
    ExpertDown {
        /// Its layer.
        layer: usize,
        /// Its number.
        expert: usize,
    },
    /// Of the gate and up projections of a dense block or shared expert.
    Common {
        /// Its layer.
        layer: usize,
    },
    /// Of the down projection of a dense block or shared expert.
    CommonDown {
        /// Its layer.
        layer: usize,
    },
}

/// Takes the inputs of one matrix, some tokens at a time: `sum of weight * x x^T`, or whatever
/// else.
pub trait Accumulate {
    /// `inputs [tokens, columns]`, and how much each token counts (all the same without weights).
    fn add(&mut self, inputs: &[f32], weights: Option<&[f32]>);
}

/// Assigns each matrix its place to gather inputs.
pub trait Consumer {
    /// Where the inputs of this place go, `columns` wide; none if they are not wanted.
    fn accumulator(&mut self, place: Place, columns: usize) -> Option<&mut dyn Accumulate>;

    /// Whether tokens count by `mean over d of (weight of the expert * g(t, d))^2` instead of one
    /// each.
    fn by_gradient(&self) -> bool {
        false
    }

    /// No more inputs will come for this layer. Layers come last to first.
    ///
    /// # Errors
    /// Whatever the consumer could not do with it.
    fn layer_done(&mut self, layer: usize) -> Result<(), CalibrateError>;
}

/// Wants nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoConsumer;

impl Consumer for NoConsumer {
    fn accumulator(&mut self, _place: Place, _columns: usize) -> Option<&mut dyn Accumulate> {
        None
    }

    fn layer_done(&mut self, _layer: usize) -> Result<(), CalibrateError> {
        Ok(())
    }
}
