//! Multi-head and grouped-query attention over a whole sequence, and the softmax that latent
//! attention shares with it.

use candle_core::{D, DType, Device, Result, Tensor};
use hardtack_format::spec::{AttentionKind, AttentionSpec, HeadNorm};

use super::linear::linear;
use super::norm::rms_norm;
use super::pass::Pass;
use super::rope::rotate;
use super::weights::GroupedWeights;

/// The block's output `[tokens, hidden]` for a normalized stream `x [tokens, hidden]`.
pub fn attention(
    spec: &AttentionSpec,
    weights: &GroupedWeights,
    x: &Tensor,
    pass: &Pass,
) -> Result<Tensor> {
    linear(&attended(spec, weights, x, pass)?, &weights.output, weights.output_bias.as_ref())
}

/// What the output projection reads: `[tokens, heads * head_dim]`.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn attended(
    spec: &AttentionSpec,
    weights: &GroupedWeights,
    x: &Tensor,
    pass: &Pass,
) -> Result<Tensor> {
    let [query, key, value] = heads(spec, weights, x, pass)?;
    attend(spec, &query, &key, &value, weights.sinks.as_ref())
}

/// Queries, keys and values of a normalized stream, `[heads, tokens, head_dim]` each.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn heads(
    spec: &AttentionSpec,
    weights: &GroupedWeights,
    x: &Tensor,
    pass: &Pass,
) -> Result<[Tensor; 3]> {
    let AttentionKind::Grouped { kv_heads, head_dim, norm } = spec.kind else {
        unreachable!("loaded for the same spec")
    };
    let (heads, kv_heads, head_dim) = (spec.heads as usize, kv_heads as usize, head_dim as usize);
    let query =
        Projection { matrix: &weights.query, bias: &weights.query_bias, gain: &weights.query_norm };
    let key = Projection { matrix: &weights.key, bias: &weights.key_bias, gain: &weights.key_norm };
    let value = Projection { matrix: &weights.value, bias: &weights.value_bias, gain: &None };

    let query = turn(spec, &query.heads(norm, x, heads, head_dim, pass)?, pass)?;
    let key = turn(spec, &key.heads(norm, x, kv_heads, head_dim, pass)?, pass)?;
    Ok([query, key, value.heads(HeadNorm::None, x, kv_heads, head_dim, pass)?])
}

struct Projection<'a> {
    matrix: &'a Tensor,
    bias: &'a Option<Tensor>,
    gain: &'a Option<Tensor>,
}

impl Projection<'_> {
    /// `[heads, tokens, head_dim]`
    fn heads(
        &self,
        norm: HeadNorm,
        x: &Tensor,
        heads: usize,
        head_dim: usize,
        pass: &Pass,
    ) -> Result<Tensor> {
        let mut projected = linear(x, self.matrix, self.bias.as_ref())?;
        if let (HeadNorm::Whole, Some(gain)) = (norm, self.gain) {
            projected = rms_norm(&projected, gain, pass.epsilon)?;
        }
        let mut split = projected.reshape((x.dim(0)?, heads, head_dim))?;
        if let (HeadNorm::PerHead, Some(gain)) = (norm, self.gain) {
            split = rms_norm(&split, gain, pass.epsilon)?;
        }
        split.transpose(0, 1)?.contiguous()
    }
}

/// RoPE on the first elements of every head.
fn turn(spec: &AttentionSpec, x: &Tensor, pass: &Pass) -> Result<Tensor> {
    let (width, turned) = (x.dim(2)?, spec.rope_dim as usize);
    let scale = f64::from(spec.rope_scale);
    match turned {
        0 => Ok(x.clone()),
        _ if turned == width => rotate(x, &pass.turns, scale),
        _ => {
            let first = rotate(&x.narrow(2, 0, turned)?, &pass.turns, scale)?;
            Tensor::cat(&[first, x.narrow(2, turned, width - turned)?], 2)
        }
    }
}

/// Softmax attention: queries `[heads, tokens, width]`, keys `[kv_heads, tokens, width]`, values
/// `[kv_heads, tokens, value_dim]` and one sink logit a head, to `[tokens, heads * value_dim]`.
pub fn attend(
    spec: &AttentionSpec,
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    sinks: Option<&Tensor>,
) -> Result<Tensor> {
    let (heads, tokens, _) = query.dims3()?;
    let (kv_heads, _, value_dim) = value.dims3()?;
    let Softmax { shares, sum, .. } = softmax(spec, query, key, sinks)?;
    let attended = shares.reshape((kv_heads, heads / kv_heads * tokens, tokens))?.matmul(value)?;
    let attended = attended.reshape((heads, tokens, value_dim))?.broadcast_div(&sum)?;
    attended.transpose(0, 1)?.reshape((tokens, heads * value_dim))
}

/// A softmax before it is divided.
#[derive(Debug)]
pub struct Softmax {
    /// `exp(score - maximum)`, `[heads, tokens, tokens]`.
    pub shares: Tensor,
    /// The largest score of every query, `[heads, tokens, 1]`.
    pub maximum: Tensor,
    /// What the shares are divided by, `[heads, tokens, 1]`.
    pub sum: Tensor,
}

/// How much every query `[heads, tokens, width]` looks at every key `[kv_heads, tokens, width]`.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn softmax(
    spec: &AttentionSpec,
    query: &Tensor,
    key: &Tensor,
    sinks: Option<&Tensor>,
) -> Result<Softmax> {
    let (heads, tokens, width) = query.dims3()?;
    let kv_heads = key.dim(0)?;
    // The heads that share a key are together, so their queries are rows of one matrix.
    let scores = query.reshape((kv_heads, heads / kv_heads * tokens, width))?.matmul(&key.t()?)?;
    let scores = (scores * f64::from(spec.score_scale))?.reshape((heads, tokens, tokens))?;
    let scores = scores.broadcast_add(&mask(tokens, spec.window as usize, query.dtype())?)?;

    // Softmax does not change when a constant is taken off its scores, so the maximum needs no
    // gradient.
    let mut maximum = scores.detach().max_keepdim(D::Minus1)?;
    let sinks = sinks.map(|sinks| sinks.reshape((heads, 1, 1))).transpose()?;
    if let Some(sinks) = &sinks {
        maximum = maximum.broadcast_maximum(sinks)?;
    }
    let shares = scores.broadcast_sub(&maximum)?.exp()?;
    let mut sum = shares.sum_keepdim(D::Minus1)?;
    if let Some(sinks) = &sinks {
        // The sink takes part in the softmax and has no value.
        sum = (sum + sinks.broadcast_sub(&maximum)?.exp()?)?;
    }
    Ok(Softmax { shares, maximum, sum })
}

/// What is added to the scores `[tokens, tokens]`: negative infinity where a token does not look.
fn mask(tokens: usize, window: usize, dtype: DType) -> Result<Tensor> {
    let window = if window == 0 { tokens } else { window };
    let row = |token: usize| {
        (0..tokens)
            .map(move |at| if at <= token && token - at < window { 0.0 } else { f32::NEG_INFINITY })
    };
    let values: Vec<f32> = (0..tokens).flat_map(row).collect();
    Tensor::from_vec(values, (tokens, tokens), &Device::Cpu)?.to_dtype(dtype)
}
