//! What fewer bits of one cached chunk do to the tokens after it: the change of the attention's
//! output, weighted by the squared gradient there, in the same unit as the costs of weights.

use candle_core::{D, DType, Device, Result, Tensor};
use half::f16;
use hardtack_format::kv_policy::{BITS, PARTS};
use hardtack_format::spec::{AttentionKind, AttentionSpec};
use hardtack_kernels::kv_router::inputs;

use super::rounding::{Scaled, rounded};
use crate::calibrate::graph::{
    AttentionWeights, LatentWeights, Latents, Pass, Softmax, expand, heads, latents, softmax,
};

/// Tokens of a chunk of the runtime's ring.
pub const CHUNK: usize = 64;
/// One token in this many after a chunk is asked what it loses.
const STRIDE: usize = 4;
/// Rows of keys that are kept of every chunk.
pub const ROWS: usize = 64;

/// One chunk: costs for a token after it, at each of the [`BITS`] of each part, and keys as the
/// kv_router reads them.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// `[part][bits]`
    pub costs: [[f64; BITS.len()]; PARTS],
    /// `[ROWS, inputs]`
    pub inputs: Vec<f32>,
}

/// What attention keeps of one window, and the queries that read it.
struct Cached<'a> {
    spec: &'a AttentionSpec,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    latents: Option<(&'a LatentWeights, Tensor, Tensor)>,
    sinks: Option<&'a Tensor>,
}

/// The chunks of a window that are sealed before it ends: all but the first and the last. `x` is
/// the normalized stream `[tokens, hidden]`, `gradient` that at the attention block's output.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn chunks(
    spec: &AttentionSpec,
    weights: &AttentionWeights,
    x: &Tensor,
    gradient: &Tensor,
    pass: &Pass,
) -> Result<Vec<Chunk>> {
    let (cached, output) = match weights {
        AttentionWeights::Grouped(weights) => {
            let [query, key, value] = heads(spec, weights, x, pass)?;
            let sinks = weights.sinks.as_ref();
            (Cached { spec, query, key, value, latents: None, sinks }, &weights.output)
        }
        AttentionWeights::Latent(weights) => {
            let Latents { query, latent, shared_key } = latents(spec, weights, x, pass)?;
            let [key, value] = expand(spec, weights, &latent, &shared_key)?;
            let latents = Some((weights, latent, shared_key));
            (Cached { spec, query, key, value, latents, sinks: None }, &weights.output)
        }
    };
    let seen = Seen::new(&cached, &gradient.matmul(output)?)?;
    (1..(x.dim(0)? / CHUNK).saturating_sub(1)).map(|chunk| cached.chunk(chunk, &seen)).collect()
}

/// Some queries of a window, and what they gave exactly: `[heads, queries, ..]`.
struct Seen {
    query: Tensor,
    shares: Tensor,
    maximum: Tensor,
    sum: Tensor,
    attended: Tensor,
    /// Gradient at `attended`.
    gradient: Tensor,
}

impl Seen {
    /// `gradient` is `[tokens, heads * value_dim]`.
    fn new(cached: &Cached<'_>, gradient: &Tensor) -> Result<Self> {
        let (heads, tokens, _) = cached.query.dims3()?;
        let (kv_heads, _, value_dim) = cached.value.dims3()?;
        let Softmax { shares, maximum, sum } =
            softmax(cached.spec, &cached.query, &cached.key, cached.sinks)?;
        let rows = heads / kv_heads * tokens;
        let attended = shares.reshape((kv_heads, rows, tokens))?.matmul(&cached.value)?;
        let attended = attended.reshape((heads, tokens, value_dim))?.broadcast_div(&sum)?;
        let gradient = gradient.reshape((tokens, heads, value_dim))?.transpose(0, 1)?;
        let some: Vec<u32> = (STRIDE as u32 - 1..tokens as u32).step_by(STRIDE).collect();
        let some = Tensor::new(some, &Device::Cpu)?;
        let pick = |tensor: &Tensor| tensor.contiguous()?.index_select(&some, 1);
        Ok(Self {
            query: pick(&cached.query)?,
            shares: pick(&shares)?,
            maximum: pick(&maximum)?,
            sum: pick(&sum)?,
            attended: pick(&attended)?,
            gradient: pick(&gradient)?,
        })
    }

    /// The queries after a chunk.
    fn after(&self, chunk: usize) -> Result<Self> {
        let first = (chunk + 1) * CHUNK / STRIDE;
        let after = |tensor: &Tensor| tensor.narrow(1, first, tensor.dim(1)? - first)?.contiguous();
        Ok(Self {
            query: after(&self.query)?,
            shares: after(&self.shares.narrow(2, chunk * CHUNK, CHUNK)?)?,
            maximum: after(&self.maximum)?,
            sum: after(&self.sum)?,
            attended: after(&self.attended)?,
            gradient: after(&self.gradient)?,
        })
    }
}

impl Cached<'_> {
    fn chunk(&self, chunk: usize, seen: &Seen) -> Result<Chunk> {
        let own = |tensor: &Tensor| tensor.narrow(1, chunk * CHUNK, CHUNK)?.contiguous();
        let (key, value) = (own(&self.key)?, own(&self.value)?);
        let after = seen.after(chunk)?;
        let mut costs = [[0.0; BITS.len()]; PARTS];
        match &self.latents {
            None => {
                for (cost, key) in costs[0].iter_mut().zip(rounded(&key, Scaled::Channel)?) {
                    *cost = self.cost(&after, &value, Some(&key), &value)?;
                }
                for (cost, changed) in costs[1].iter_mut().zip(rounded(&value, Scaled::Token)?) {
                    *cost = self.cost(&after, &value, None, &changed)?;
                }
            }
            Some((weights, latent, shared_key)) => {
                let rows = |tensor: &Tensor| tensor.narrow(0, chunk * CHUNK, CHUNK)?.unsqueeze(0);
                let latents = rounded(&rows(latent)?, Scaled::Channel)?;
                let keys = rounded(&rows(shared_key)?, Scaled::Channel)?;
                for ((cost, latent), shared_key) in costs[0].iter_mut().zip(latents).zip(keys) {
                    let [key, changed] =
                        expand(self.spec, weights, &latent.squeeze(0)?, &shared_key.squeeze(0)?)?;
                    *cost = self.cost(&after, &value, Some(&key), &changed)?;
                }
            }
        }
        Ok(Chunk { costs, inputs: self.inputs(chunk)? })
    }

    /// `mean over queries of the sum over elements of gradient^2 * change^2` where a chunk has
    /// other keys, if any, and values.
    fn cost(
        &self,
        seen: &Seen,
        value: &Tensor,
        key: Option<&Tensor>,
        changed: &Tensor,
    ) -> Result<f64> {
        let (heads, queries, width) = seen.query.dims3()?;
        let (kv_heads, _, value_dim) = value.dims3()?;
        let rows = heads / kv_heads * queries;
        let gather = |shares: &Tensor, value: &Tensor| {
            shares
                .reshape((kv_heads, rows, CHUNK))?
                .matmul(value)?
                .reshape((heads, queries, value_dim))
        };
        let before = gather(&seen.shares, value)?;
        let (after, more) = match key {
            None => (gather(&seen.shares, changed)?, None),
            Some(key) => {
                let scores = seen.query.reshape((kv_heads, rows, width))?.matmul(&key.t()?)?;
                let scores = (scores * f64::from(self.spec.score_scale))?
                    .reshape((heads, queries, CHUNK))?;
                let mut shares = scores.broadcast_sub(&seen.maximum)?.exp()?;
                if self.spec.window > 0 {
                    // What is out of the window stays out of it.
                    shares = (shares * seen.shares.gt(0.0)?.to_dtype(DType::F32)?)?;
                }
                let more = (&shares - &seen.shares)?.sum_keepdim(D::Minus1)?;
                (gather(&shares, changed)?, Some(more))
            }
        };
        let mut change = (after - before)?;
        let mut sum = seen.sum.clone();
        if let Some(more) = more {
            change = (change - seen.attended.broadcast_mul(&more)?)?;
            sum = (sum + more)?;
        }
        let change = (change.broadcast_div(&sum)? * &seen.gradient)?;
        Ok(change.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()? / queries as f64)
    }

    /// Some rows of the chunk's keys, or latents, as the kv_router reads them.
    fn inputs(&self, chunk: usize) -> Result<Vec<f32>> {
        let (keys, turned) = match (&self.latents, self.spec.kind) {
            (Some((_, latent, _)), _) => (latent.unsqueeze(0)?, 0),
            (None, AttentionKind::Grouped { .. }) => {
                (self.key.clone(), self.spec.rope_dim as usize)
            }
            (None, AttentionKind::Latent { .. }) => {
                unreachable!("latents are there for latent attention")
            }
        };
        let keys = keys.narrow(1, chunk * CHUNK, CHUNK)?.contiguous()?;
        let (heads, _, width) = keys.dims3()?;
        let keys: Vec<f16> =
            keys.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f16::from_f32).collect();
        let row =
            |index: usize| &keys[((index % heads) * CHUNK + index % CHUNK) * width..][..width];
        Ok((0..ROWS).flat_map(|index| inputs(row(index), turned)).collect())
    }
}
