//! Both ends of the network: embeddings, logits, and the loss of predicting the next token.

use candle_core::{D, Device, Result, Tensor};
use hardtack_format::spec::ModelSpec;

use super::linear::linear;
use super::norm::rms_norm;

/// The stream before the first layer `[tokens, hidden]`, from embeddings `[vocabulary, hidden]`.
///
/// # Errors
/// A token is outside the vocabulary.
pub fn embed(spec: &ModelSpec, embedding: &Tensor, tokens: &[u32]) -> Result<Tensor> {
    let ids = Tensor::from_slice(tokens, tokens.len(), &Device::Cpu)?;
    embedding.index_select(&ids, 0)? * f64::from(spec.embedding_scale)
}

/// Logits `[tokens, vocabulary]` of the stream after the last layer.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn logits(
    spec: &ModelSpec,
    final_norm: &Tensor,
    head: &Tensor,
    stream: &Tensor,
) -> Result<Tensor> {
    let normed = rms_norm(stream, final_norm, f64::from(spec.norm_epsilon))?;
    linear(&normed, head, None)? * f64::from(spec.logit_scale)
}

/// Negative log-likelihood of `targets`, in nats, summed over the rows of `logits [tokens,
/// vocabulary]`.
///
/// # Errors
/// There is not one target a row, or one is outside the vocabulary.
pub fn cross_entropy(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let targets = Tensor::from_slice(targets, (targets.len(), 1), &Device::Cpu)?;
    let maximum = logits.detach().max_keepdim(D::Minus1)?;
    let shifted = logits.broadcast_sub(&maximum)?;
    let sums = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    (sums - shifted.gather(&targets, 1)?)?.sum_all()
}
