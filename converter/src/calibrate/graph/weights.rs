//! Weights of one layer as tensors: the blob's own names, in the shapes of its slots.
//!
//! Every matrix is a constant; the router and its bias may be replaced by variables.

use candle_core::Tensor;
use hardtack_format::network::{
    AttentionTensors, BlockTensors, ExpertsTensors, FeedForwardTensors, GroupedTensors,
    LatentTensors, LayerTensors,
};

/// Weights of one layer.
pub type LayerWeights = LayerTensors<Tensor>;
/// Weights of attention.
pub type AttentionWeights = AttentionTensors<Tensor>;
/// Weights of multi-head and grouped-query attention.
pub type GroupedWeights = GroupedTensors<Tensor>;
/// Weights of latent attention; up-projections are `[heads, rows, columns]`.
pub type LatentWeights = LatentTensors<Tensor>;
/// Weights of a feed-forward block.
pub type FeedForwardWeights = FeedForwardTensors<Tensor>;
/// Weights of a mixture of experts.
pub type ExpertsWeights = ExpertsTensors<Tensor>;
/// Weights of one gated block: an expert, a shared expert, or a dense feed-forward block.
pub type BlockWeights = BlockTensors<Tensor>;
