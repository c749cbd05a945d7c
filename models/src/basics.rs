//! The numbers that every family has, whichever kind of file they were read from.

use hardtack_format::spec::*;

use crate::rope::Rope;
use crate::slots::Head;

/// What all families share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Basics {
    pub vocabulary: u32,
    pub hidden: u32,
    pub layer_count: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    pub context_max: u32,
    pub norm_epsilon: f32,
    pub rope: Rope,
    /// DeepSeek's extra factor on scores, before its square.
    pub all_dim_scale: f64,
    pub head: Head,
}

impl Basics {
    /// Grouped-query attention over whole heads; a window of 0 sees everything.
    pub fn attention(&self, norm: HeadNorm, window: u32) -> AttentionSpec {
        AttentionSpec {
            heads: self.heads,
            score_scale: (1.0 / f64::from(self.head_dim).sqrt()) as f32,
            window,
            rope_dim: self.rope.dim,
            rope_scale: self.rope.attention_factor(),
            kind: AttentionKind::Grouped { kv_heads: self.kv_heads, head_dim: self.head_dim, norm },
        }
    }

    /// The network whose layers are made one by one.
    pub fn spec(&self, layer: impl Fn(u32) -> LayerSpec) -> ModelSpec {
        ModelSpec {
            vocabulary: self.vocabulary,
            hidden: self.hidden,
            context_max: self.context_max,
            norm_epsilon: self.norm_epsilon,
            embedding_scale: 1.0,
            residual_scale: 1.0,
            logit_scale: 1.0,
            layers: (0..self.layer_count).map(layer).collect(),
        }
    }
}

/// A dense feed-forward block.
pub(crate) fn dense(inner: u32) -> FeedForwardSpec {
    FeedForwardSpec { activation: Activation::Silu, kind: FeedForwardKind::Dense { inner } }
}

/// A mixture of experts with the usual activation.
pub(crate) fn mixture(experts: ExpertsSpec) -> FeedForwardSpec {
    FeedForwardSpec { activation: Activation::Silu, kind: FeedForwardKind::Experts(experts) }
}

/// Whether the chosen experts' shares are renormalized, as a gate.
pub(crate) fn router_kind(renormalized: bool) -> RouterKind {
    if renormalized { RouterKind::SoftmaxChosen } else { RouterKind::SoftmaxAll }
}
