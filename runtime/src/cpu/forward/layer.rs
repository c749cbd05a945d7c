//! One transformer layer: attention, then the feed-forward block, each behind its own residual.

use hardtack_format::network::{AttentionTensors, FeedForwardTensors};
use hardtack_format::spec::FeedForwardKind;

use super::{LayerCache, Step, attention, feed_forward, latent};

/// Runs one layer over the tokens of the step.
pub fn layer(index: usize, step: &mut Step<'_>, kv: LayerCache<'_>) {
    let network = step.network;
    let (spec, tensors) = (&network.spec.layers[index], &network.layers[index]);

    step.normalize(&tensors.attention_norm);
    match &tensors.attention {
        AttentionTensors::Grouped(tensors) => {
            attention::attention(&spec.attention, tensors, step, kv)
        }
        AttentionTensors::Latent(tensors) => {
            latent::latent_attention(&spec.attention, tensors, step, kv)
        }
    }
    step.add_residual();

    step.normalize(&tensors.feed_forward_norm);
    let activation = spec.feed_forward.activation;
    match (&spec.feed_forward.kind, &tensors.feed_forward) {
        (FeedForwardKind::Experts(spec), FeedForwardTensors::Experts(tensors)) => {
            feed_forward::experts(spec, activation, tensors, step);
        }
        (_, FeedForwardTensors::Dense(block)) => feed_forward::dense(activation, block, step),
        (FeedForwardKind::Dense { .. }, FeedForwardTensors::Experts(_)) => {
            unreachable!("bound from the same spec")
        }
    }
    step.add_residual();
}
