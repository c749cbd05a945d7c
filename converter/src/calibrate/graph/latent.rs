//! Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1). Keys and values are
//! made whole here; the runtime, which works on the latents themselves, computes the same.

use candle_core::{Result, Tensor};
use hardtack_format::spec::{AttentionKind, AttentionSpec};

use super::attention::attend;
use super::linear::linear;
use super::norm::rms_norm;
use super::pass::Pass;
use super::rope::rotate;
use super::weights::LatentWeights;

/// The block's output `[tokens, hidden]` for a normalized stream `x [tokens, hidden]`.
pub fn latent_attention(
    spec: &AttentionSpec,
    weights: &LatentWeights,
    x: &Tensor,
    pass: &Pass,
) -> Result<Tensor> {
    let Latents { query, latent, shared_key } = latents(spec, weights, x, pass)?;
    let [key, value] = expand(spec, weights, &latent, &shared_key)?;
    linear(&attend(spec, &query, &key, &value, None)?, &weights.output, None)
}

/// What a cache of latents holds of a sequence, and the queries that meet it.
#[derive(Debug)]
pub struct Latents {
    /// `[heads, tokens, nope_dim + rope_dim]`
    pub query: Tensor,
    /// `[tokens, kv_rank]`
    pub latent: Tensor,
    /// The key that all heads share, turned: `[tokens, rope_dim]`.
    pub shared_key: Tensor,
}

/// Latents and queries of a normalized stream.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn latents(
    spec: &AttentionSpec,
    weights: &LatentWeights,
    x: &Tensor,
    pass: &Pass,
) -> Result<Latents> {
    let AttentionKind::Latent { kv_rank, nope_dim, .. } = spec.kind else {
        unreachable!("loaded for the same spec")
    };
    let [heads, rank, nope, rope] =
        [spec.heads, kv_rank, nope_dim, spec.rope_dim].map(|count| count as usize);
    let scale = f64::from(spec.rope_scale);
    let query = split(project_query(weights, x, pass)?, heads, nope + rope)?;
    let turned = rotate(&query.narrow(2, nope, rope)?, &pass.turns, scale)?;
    let query = Tensor::cat(&[query.narrow(2, 0, nope)?, turned], 2)?;
    let down = linear(x, &weights.key_value_down, None)?;
    let latent = rms_norm(&down.narrow(1, 0, rank)?, &weights.key_value_norm, pass.epsilon)?;
    let shared_key =
        rotate(&down.narrow(1, rank, rope)?.unsqueeze(0)?, &pass.turns, scale)?.squeeze(0)?;
    Ok(Latents { query, latent, shared_key })
}

/// Keys and values of all heads, `[heads, tokens, width]` each.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn expand(
    spec: &AttentionSpec,
    weights: &LatentWeights,
    latent: &Tensor,
    shared_key: &Tensor,
) -> Result<[Tensor; 2]> {
    let AttentionKind::Latent { kv_rank, nope_dim, value_dim, .. } = spec.kind else {
        unreachable!("loaded for the same spec")
    };
    let [heads, rank, nope, value, rope] =
        [spec.heads, kv_rank, nope_dim, value_dim, spec.rope_dim].map(|count| count as usize);
    // The blob keeps key up-projections transposed.
    let key_up = weights.key_up.transpose(1, 2)?.reshape((heads * nope, rank))?;
    let key = split(linear(latent, &key_up, None)?, heads, nope)?;
    let shared_key =
        shared_key.unsqueeze(0)?.broadcast_as((heads, latent.dim(0)?, rope))?.contiguous()?;
    let key = Tensor::cat(&[key, shared_key], 2)?;
    let value_up = weights.value_up.reshape((heads * value, rank))?;
    Ok([key, split(linear(latent, &value_up, None)?, heads, value)?])
}

/// `[tokens, heads * width]` to `[heads, tokens, width]`
fn split(x: Tensor, heads: usize, width: usize) -> Result<Tensor> {
    x.reshape((x.dim(0)?, heads, width))?.transpose(0, 1)?.contiguous()
}

/// The query, in one projection or in two with a normalization between.
fn project_query(weights: &LatentWeights, x: &Tensor, pass: &Pass) -> Result<Tensor> {
    let Some((down, gain)) = &weights.query_down else { return linear(x, &weights.query, None) };
    linear(&rms_norm(&linear(x, down, None)?, gain, pass.epsilon)?, &weights.query, None)
}
