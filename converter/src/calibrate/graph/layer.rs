//! One transformer layer in its two halves: attention, then the feed-forward block, each with its
//! own residual.

use candle_core::{Result, Tensor};
use hardtack_format::spec::{FeedForwardKind, FeedForwardSpec, LayerSpec};

use super::attention::attention;
use super::experts::{block, experts};
use super::latent::latent_attention;
use super::norm::rms_norm;
use super::pass::Pass;
use super::router::Routes;
use super::weights::{AttentionWeights, FeedForwardWeights, LayerWeights};

/// One layer over a sequence: `stream [tokens, hidden]` to the next layer's.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn layer(
    spec: &LayerSpec,
    weights: &LayerWeights,
    stream: &Tensor,
    pass: &Pass,
) -> Result<Tensor> {
    let attended =
        attention_block(spec, &weights.attention_norm, &weights.attention, stream, pass)?;
    let stream = pass.join(stream, &attended)?;
    let normed = rms_norm(&stream, &weights.feed_forward_norm, pass.epsilon)?;
    let (output, _) = feed_forward_block(&spec.feed_forward, &weights.feed_forward, &normed)?;
    pass.join(&stream, &output)
}

/// Output of the attention block, before its residual, for a stream that is not normalized yet.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn attention_block(
    spec: &LayerSpec,
    gain: &Tensor,
    weights: &AttentionWeights,
    stream: &Tensor,
    pass: &Pass,
) -> Result<Tensor> {
    let normed = rms_norm(stream, gain, pass.epsilon)?;
    match weights {
        AttentionWeights::Grouped(weights) => attention(&spec.attention, weights, &normed, pass),
        AttentionWeights::Latent(weights) => {
            latent_attention(&spec.attention, weights, &normed, pass)
        }
    }
}

/// Output of the feed-forward block, before its residual, for a normalized stream; and where a
/// mixture sent the tokens.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn feed_forward_block(
    spec: &FeedForwardSpec,
    weights: &FeedForwardWeights,
    normed: &Tensor,
) -> Result<(Tensor, Option<Routes>)> {
    match (&spec.kind, weights) {
        (FeedForwardKind::Experts(mixture), FeedForwardWeights::Experts(weights)) => {
            experts(mixture, spec.activation, weights, normed)
                .map(|(output, routes)| (output, Some(routes)))
        }
        (FeedForwardKind::Dense { .. }, FeedForwardWeights::Dense(weights)) => {
            Ok((block(spec.activation, weights, normed)?, None))
        }
        _ => unreachable!("loaded for the same spec"),
    }
}
