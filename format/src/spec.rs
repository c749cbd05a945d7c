//! A network as numbers and flags: all that the runtime knows about a model.

use alloc::vec::Vec;

/// The whole network.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Token ids are below this.
    pub vocabulary: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Longest context the model was trained for, in tokens.
    pub context_max: u32,
    /// Added to the mean square inside every RMS normalization.
    pub norm_epsilon: f32,
    /// Embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// Each block's output is multiplied by this before it joins the residual stream.
    pub residual_scale: f32,
    /// Logits are multiplied by this.
    pub logit_scale: f32,
    /// The layers, first to last.
    pub layers: Vec<LayerSpec>,
}

/// One transformer layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerSpec {
    /// Its attention.
    pub attention: AttentionSpec,
    /// Its feed-forward block.
    pub feed_forward: FeedForwardSpec,
}

/// Attention of one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionSpec {
    /// Query heads.
    pub heads: u32,
    /// Scores are multiplied by this before the softmax.
    pub score_scale: f32,
    /// A token sees this many tokens, itself included; 0 for all.
    pub window: u32,
    /// Elements of a head that RoPE turns (the last ones of a latent head, the first ones of a
    /// grouped head).
    pub rope_dim: u32,
    /// RoPE's cosines and sines are multiplied by this (YaRN's attention factor; else 1).
    pub rope_scale: f32,
    /// How keys and values are made.
    pub kind: AttentionKind,
}

/// How keys and values are made and kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttentionKind {
    /// Multi-head, grouped-query or multi-query attention: `kv_heads` keys and values of
    /// `head_dim`.
    Grouped {
        /// Key and value heads; divides `heads`.
        kv_heads: u32,
        /// Width of a head.
        head_dim: u32,
        /// Normalization of queries and keys.
        norm: HeadNorm,
    },
    /// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): one latent and one
    /// rotated key a token.
    Latent {
        /// Rank of the query projection; 0 for a full one.
        query_rank: u32,
        /// Width of the latent.
        kv_rank: u32,
        /// Elements of a head without RoPE.
        nope_dim: u32,
        /// Width of a head's value.
        value_dim: u32,
    },
}

/// Normalization of queries and keys after their projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadNorm {
    /// None.
    None,
    /// Each head by itself.
    PerHead,
    /// The whole projection at once.
    Whole,
}

/// The feed-forward block of one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeedForwardSpec {
    /// The non-linearity between gate, up and down projections.
    pub activation: Activation,
    /// Dense, or a mixture of experts.
    pub kind: FeedForwardKind,
}

/// What joins the gate projection `g` and the up projection `u`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `silu(g) * u`
    Silu,
    /// `g * sigmoid(alpha * g) * (u + 1)` with `g <= limit` and `|u| <= limit` (GPT-OSS).
    ClampedSwiglu {
        /// Slope inside the sigmoid.
        alpha: f32,
        /// Bound of both projections.
        limit: f32,
    },
}

/// Dense, or a mixture of experts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FeedForwardKind {
    /// One block for every token.
    Dense {
        /// Its inner width.
        inner: u32,
    },
    /// A router chooses experts for each token.
    Experts(ExpertsSpec),
}

/// A mixture of experts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpertsSpec {
    /// Routed experts.
    pub count: u32,
    /// Experts chosen for a token.
    pub chosen: u32,
    /// Inner width of a routed expert.
    pub inner: u32,
    /// Inner width of the shared expert; 0 for none.
    pub shared_inner: u32,
    /// How the gate's logits become weights.
    pub router: RouterKind,
    /// The routed experts' weights are multiplied by this.
    pub routed_scale: f32,
}

/// How the gate's logits become weights of the chosen experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterKind {
    /// Softmax over all experts; the chosen ones keep their share.
    SoftmaxAll,
    /// Softmax over the chosen experts (the same as renormalizing their shares).
    SoftmaxChosen,
}

impl AttentionSpec {
    /// Width of a query head.
    pub const fn query_dim(&self) -> u32 {
        match self.kind {
            AttentionKind::Grouped { head_dim, .. } => head_dim,
            AttentionKind::Latent { nope_dim, .. } => nope_dim + self.rope_dim,
        }
    }

    /// Elements cached for each token: keys, then values (latent: the latent, then the rotated
    /// key).
    pub const fn cached(&self) -> (u32, u32) {
        match self.kind {
            AttentionKind::Grouped { kv_heads, head_dim, .. } => {
                (kv_heads * head_dim, kv_heads * head_dim)
            }
            AttentionKind::Latent { kv_rank, .. } => (kv_rank, self.rope_dim),
        }
    }
}

impl FeedForwardSpec {
    /// The experts, if this is a mixture.
    pub const fn experts(&self) -> Option<&ExpertsSpec> {
        match &self.kind {
            FeedForwardKind::Experts(experts) => Some(experts),
            FeedForwardKind::Dense { .. } => None,
        }
    }
}
