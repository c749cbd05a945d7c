//! Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1). Keys and values are made whole here; the
//! runtime, which works on the latents themselves, computes the same.

use candle_core::{Result, Tensor};
use hardtack_format::spec::{AttentionKind, AttentionSpec};

use super::attention::attend;
use super::layer::Pass;
use super::linear::linear;
use super::norm::rms_norm;
use super::rope::rotate;
use super::weights::LatentWeights;

/// The block's output `[tokens, hidden]` for a normalized stream `x [tokens, hidden]`.
pub fn latent_attention(spec: &AttentionSpec, weights: &LatentWeights, x: &Tensor, pass: &Pass) -> Result<Tensor> {
    let AttentionKind::Latent { kv_rank, nope_dim, value_dim, .. } = spec.kind else {
        unreachable!("loaded for the same spec")
    };
    let [heads, rank, nope, value, rope] =
        [spec.heads, kv_rank, nope_dim, value_dim, spec.rope_dim].map(|count| count as usize);
    let tokens = x.dim(0)?;
    let scale = f64::from(spec.rope_scale);
    // `[tokens, heads * width]` to `[heads, tokens, width]`
    let split = |x: Tensor, width| x.reshape((tokens, heads, width))?.transpose(0, 1)?.contiguous();

    let query = split(project_query(weights, x, pass)?, nope + rope)?;
    let turned = rotate(&query.narrow(2, nope, rope)?, &pass.turns, scale)?;
    let query = Tensor::cat(&[query.narrow(2, 0, nope)?, turned], 2)?;

    let down = linear(x, &weights.key_value_down, None)?;
    let latent = rms_norm(&down.narrow(1, 0, rank)?, &weights.key_value_norm, pass.epsilon)?;
    let shared_key = rotate(&down.narrow(1, rank, rope)?.unsqueeze(0)?, &pass.turns, scale)?;
    // The blob keeps key up-projections transposed.
    let key_up = weights.key_up.transpose(1, 2)?.reshape((heads * nope, rank))?;
    let key = split(linear(&latent, &key_up, None)?, nope)?;
    let key = Tensor::cat(&[key, shared_key.broadcast_as((heads, tokens, rope))?.contiguous()?], 2)?;
    let value_up = weights.value_up.reshape((heads * value, rank))?;
    let value = split(linear(&latent, &value_up, None)?, value)?;

    linear(&attend(spec, &query, &key, &value, None)?, &weights.output, None)
}

/// The query, in one projection or in two with a normalization between.
fn project_query(weights: &LatentWeights, x: &Tensor, pass: &Pass) -> Result<Tensor> {
    let Some((down, gain)) = &weights.query_down else { return linear(x, &weights.query, None) };
    linear(&rms_norm(&linear(x, down, None)?, gain, pass.epsilon)?, &weights.query, None)
}
