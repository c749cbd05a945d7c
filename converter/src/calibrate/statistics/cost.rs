//! What quantization does to a block's output, weighted by the squared gradient there.

use candle_core::{D, DType, Result as TensorResult, Tensor};
use hardtack_format::Encoding;
use hardtack_format::spec::Activation;

use super::inputs::{Accumulate, Consumer, Place};
use crate::calibrate::error::CalibrateError;
use crate::calibrate::graph::{BlockWeights, block, block_inner, quantized_block};

/// Some tokens of one text that meet one block.
#[derive(Clone, Debug)]
pub struct Tile {
    /// Number of the text.
    pub domain: usize,
    /// The block's inputs `[tokens, hidden]`.
    pub input: Tensor,
    /// Gradient at the block's own output, the weight that the output gets included: `[tokens,
    /// hidden]`.
    pub gradient: Tensor,
}

/// `sum over tokens and elements of gradient^2 * (exact - changed)^2`
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn squared_change(gradient: &Tensor, exact: &Tensor, changed: &Tensor) -> TensorResult<f64> {
    let change = ((exact - changed)? * gradient)?;
    change.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()
}

/// Costs of a block at each option, `[options]` for each text: its quantized twin runs on the same
/// inputs.
///
/// # Errors
/// A weight does not fit an option, or shapes or types of numbers do not agree.
pub fn block_costs(
    activation: Activation,
    weights: &BlockWeights,
    tiles: &[Tile],
    options: &[Encoding],
    domains: usize,
) -> Result<Vec<Vec<f64>>, CalibrateError> {
    let mut costs = vec![vec![0.0; options.len()]; domains];
    if tiles.is_empty() {
        return Ok(costs);
    }
    let exact: Vec<Tensor> = tiles
        .iter()
        .map(|tile| block(activation, weights, &tile.input))
        .collect::<TensorResult<_>>()?;
    for (option, &encoding) in options.iter().enumerate() {
        let twin = quantized_block(weights, encoding)?;
        for (tile, exact) in tiles.iter().zip(&exact) {
            let changed = block(activation, &twin, &tile.input)?;
            costs[tile.domain][option] += squared_change(&tile.gradient, exact, &changed)?;
        }
    }
    Ok(costs)
}

/// Hands the inputs of a block's matrices to the consumer.
pub fn hand_inputs(
    activation: Activation,
    weights: &BlockWeights,
    tiles: &[Tile],
    [place, down]: [Place; 2],
    consumer: &mut dyn Consumer,
) -> Result<(), CalibrateError> {
    let by_gradient = consumer.by_gradient();
    let token_weights = |tile: &Tile| -> TensorResult<Option<Vec<f32>>> {
        if !by_gradient {
            return Ok(None);
        }
        tile.gradient.sqr()?.mean(D::Minus1)?.to_vec1::<f32>().map(Some)
    };
    let floats = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
    let hand = |own: &mut dyn Accumulate, inner: bool| -> Result<(), CalibrateError> {
        for tile in tiles {
            let inputs = if inner {
                floats(&block_inner(activation, weights, &tile.input)?)?
            } else {
                floats(&tile.input)?
            };
            own.add(&inputs, token_weights(tile)?.as_deref());
        }
        Ok(())
    };
    if let Some(own) = consumer.accumulator(place, weights.gated.dim(1)?) {
        hand(own, false)?;
    }
    if let Some(own) = consumer.accumulator(down, weights.down.dim(1)?) {
        hand(own, true)?;
    }
    Ok(())
}
