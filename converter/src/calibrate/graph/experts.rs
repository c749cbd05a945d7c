//! The feed-forward block: one for every token, or the experts that each token is sent to.

use candle_core::{Device, Result, Tensor};
use hardtack_format::spec::{Activation, ExpertsSpec};

use super::linear::linear;
use super::router::{Routes, route};
use super::weights::{BlockWeights, ExpertsWeights};

/// `down(activation(gated(x), up(x)))` for rows `x [tokens, hidden]`.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn block(activation: Activation, weights: &BlockWeights, x: &Tensor) -> Result<Tensor> {
    block_output(weights, &block_inner(activation, weights, x)?)
}

/// What the down projection reads: `[tokens, inner]`.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn block_inner(activation: Activation, weights: &BlockWeights, x: &Tensor) -> Result<Tensor> {
    let gated = linear(x, &weights.gated, weights.gated_bias.as_ref())?;
    let up = linear(x, &weights.up, weights.up_bias.as_ref())?;
    match activation {
        Activation::Silu => gated.silu()? * up,
        Activation::ClampedSwiglu { alpha, limit } => {
            let (alpha, limit) = (f64::from(alpha), f64::from(limit));
            // g * sigmoid(alpha * g) = silu(alpha * g) / alpha
            let gated = ((gated.minimum(limit)? * alpha)?.silu()? / alpha)?;
            gated * (up.maximum(-limit)?.minimum(limit)? + 1.0)?
        }
    }
}

/// The down projection of `inner [tokens, inner]`.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn block_output(weights: &BlockWeights, inner: &Tensor) -> Result<Tensor> {
    linear(inner, &weights.down, weights.down_bias.as_ref())
}

/// A mixture of experts on a normalized stream `x [tokens, hidden]`: its output, and where the
/// tokens went.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn experts(
    spec: &ExpertsSpec,
    activation: Activation,
    weights: &ExpertsWeights,
    x: &Tensor,
) -> Result<(Tensor, Routes)> {
    let routes = route(spec, &weights.router, weights.router_bias.as_ref(), x)?;
    let (tokens, hidden) = x.dims2()?;
    let mut outputs = Vec::new();
    // The row among the joined outputs of each place in the routes.
    let mut rows = vec![0u32; routes.experts.len()];
    let mut joined = 0;
    for (own, places) in weights.experts.iter().zip(routes.by_expert(weights.experts.len())) {
        if places.is_empty() {
            continue;
        }
        let inputs: Vec<u32> = places.iter().map(|place| place / spec.chosen).collect();
        outputs.push(block(activation, own, &x.index_select(&ids(&inputs)?, 0)?)?);
        for place in places {
            rows[place as usize] = joined;
            joined += 1;
        }
    }
    let by_token = Tensor::cat(&outputs, 0)?.index_select(&ids(&rows)?, 0)?;
    let by_token = by_token.reshape((tokens, routes.chosen, hidden))?;
    let mut mixed = by_token.broadcast_mul(&routes.weights.unsqueeze(2)?)?.sum(1)?;
    if let Some(shared) = &weights.shared {
        let output = block(activation, shared, x)?;
        let output = match shared_share(weights, x)? {
            Some(share) => output.broadcast_mul(&share)?,
            None => output,
        };
        mixed = (mixed + output)?;
    }
    Ok((mixed, routes))
}

/// What the shared expert's own gate leaves of its output, `[tokens, 1]`; none where it has no
/// router.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn shared_share(weights: &ExpertsWeights, x: &Tensor) -> Result<Option<Tensor>> {
    let Some(router) = &weights.shared_gate else { return Ok(None) };
    let logit = linear(x, &router.reshape((1, router.elem_count()))?, None)?;
    // sigmoid(x) = (1 + tanh(x / 2)) / 2, which does not overflow.
    (((logit * 0.5)?.tanh()? + 1.0)? * 0.5).map(Some)
}

fn ids(values: &[u32]) -> Result<Tensor> {
    Tensor::from_slice(values, values.len(), &Device::Cpu)
}
