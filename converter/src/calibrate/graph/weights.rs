//! Weights of one layer as tensors, in the shapes and under the names of the blob's roles.

use candle_core::Tensor;

/// Weights of one layer. Every matrix is a constant; the gate may be replaced by a variable.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// Gain before attention `[hidden]`.
    pub attention_norm: Tensor,
    /// Attention.
    pub attention: AttentionWeights,
    /// Gain before the feed-forward block `[hidden]`.
    pub feed_forward_norm: Tensor,
    /// The feed-forward block.
    pub feed_forward: FeedForwardWeights,
}

/// Weights of attention.
#[derive(Clone, Debug)]
pub enum AttentionWeights {
    /// Keys and values of their own.
    Grouped(GroupedWeights),
    /// Latent attention.
    Latent(LatentWeights),
}

/// Weights of multi-head and grouped-query attention.
#[derive(Clone, Debug)]
pub struct GroupedWeights {
    /// `[heads * head_dim, hidden]`
    pub query: Tensor,
    /// `[kv_heads * head_dim, hidden]`
    pub key: Tensor,
    /// `[kv_heads * head_dim, hidden]`
    pub value: Tensor,
    /// `[hidden, heads * head_dim]`
    pub output: Tensor,
    /// Bias of the query projection.
    pub query_bias: Option<Tensor>,
    /// Bias of the key projection.
    pub key_bias: Option<Tensor>,
    /// Bias of the value projection.
    pub value_bias: Option<Tensor>,
    /// Bias of the output projection.
    pub output_bias: Option<Tensor>,
    /// Gain of the queries' normalization.
    pub query_norm: Option<Tensor>,
    /// Gain of the keys' normalization.
    pub key_norm: Option<Tensor>,
    /// Sink logits `[heads]`.
    pub sinks: Option<Tensor>,
}

/// Weights of latent attention.
#[derive(Clone, Debug)]
pub struct LatentWeights {
    /// `[heads * (nope + rope), query_rank or hidden]`
    pub query: Tensor,
    /// First of two query projections `[query_rank, hidden]`, and the gain between them.
    pub query_down: Option<(Tensor, Tensor)>,
    /// `[kv_rank + rope, hidden]`
    pub key_value_down: Tensor,
    /// Gain of the latent's normalization.
    pub key_value_norm: Tensor,
    /// `[heads, kv_rank, nope]`
    pub key_up: Tensor,
    /// `[heads, value_dim, kv_rank]`
    pub value_up: Tensor,
    /// `[hidden, heads * value_dim]`
    pub output: Tensor,
}

/// Weights of a feed-forward block.
#[derive(Clone, Debug)]
pub enum FeedForwardWeights {
    /// One block for every token.
    Dense(BlockWeights),
    /// A mixture of experts.
    Experts(ExpertsWeights),
}

/// Weights of a mixture of experts.
#[derive(Clone, Debug)]
pub struct ExpertsWeights {
    /// The gate `[experts, hidden]`; may be a variable.
    pub gate: Tensor,
    /// Its bias; may be a variable.
    pub gate_bias: Option<Tensor>,
    /// The routed experts.
    pub experts: Vec<BlockWeights>,
    /// The shared expert.
    pub shared: Option<BlockWeights>,
    /// The shared expert's own gate `[hidden]`.
    pub shared_gate: Option<Tensor>,
}

/// Weights of one gated block: an expert, a shared expert, or a dense feed-forward block.
#[derive(Clone, Debug)]
pub struct BlockWeights {
    /// `[inner, hidden]`
    pub gated: Tensor,
    /// `[inner, hidden]`
    pub up: Tensor,
    /// `[hidden, inner]`
    pub down: Tensor,
    /// Bias of the gate projection.
    pub gated_bias: Option<Tensor>,
    /// Bias of the up projection.
    pub up_bias: Option<Tensor>,
    /// Bias of the down projection.
    pub down_bias: Option<Tensor>,
}
