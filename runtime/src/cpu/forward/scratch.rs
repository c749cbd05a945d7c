//! The scratch of a session: every buffer that a batch needs on its way through the network.

use hardtack_format::encoding::PANEL_ROWS;
use hardtack_format::spec::{AttentionKind, FeedForwardKind, ModelSpec};

use super::shared::Shared;
use super::{attention, feed_forward, latent};
use crate::cpu::buffer::{Buffer, buffers};

buffers! {
    /// The scratch of all blocks. Layers use it one after another.
    pub struct Scratch {
        /// What blocks share.
        pub shared: Shared,
        /// Attention's.
        pub attention: attention::Scratch,
        /// What latent attention has besides.
        pub latent: latent::Scratch,
        /// The feed-forward block's.
        pub feed_forward: feed_forward::Scratch,
        /// `[vocabulary]`
        pub logits: Buffer<f32>,
    }
}

impl Scratch {
    /// What a network needs for `batch` tokens at once over an exact cache or a ring; not allocated
    /// yet.
    pub fn planned(spec: &ModelSpec, batch: usize, ring: bool) -> Self {
        let mut scratch = Self::default();
        let Self { shared, attention, latent, feed_forward, logits } = &mut scratch;
        let (hidden, vocabulary) = (spec.hidden as usize, spec.vocabulary as usize);
        shared.need(batch, hidden);
        logits.need(vocabulary);
        shared.work.need(0, vocabulary.div_ceil(PANEL_ROWS));
        for layer in &spec.layers {
            let (kind, work) = (&layer.feed_forward.kind, &mut shared.work);
            shared.turns.need(batch, layer.attention.rope_dim);
            match layer.attention.kind {
                AttentionKind::Grouped { .. } => {
                    attention.need(&layer.attention, batch, ring, work);
                }
                AttentionKind::Latent { .. } => {
                    latent.need(&layer.attention, batch, ring, attention, work);
                }
            }
            match kind {
                FeedForwardKind::Dense { inner } => feed_forward.need_dense(*inner, batch, work),
                FeedForwardKind::Experts(experts) => {
                    feed_forward.need_experts(experts, hidden, batch, work);
                }
            }
        }
        scratch
    }
}
