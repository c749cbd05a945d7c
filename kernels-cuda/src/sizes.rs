//! How much memory a session takes on a device: from the spec alone, before any of it is
//! allocated.

use hardtack_format::limits::{CHOSEN_MAX, DIMENSION_MAX, HEAD_DIM_MAX, HEADS_MAX};
use hardtack_format::spec::{AttentionKind, AttentionSpec, FeedForwardKind, ModelSpec};
use hardtack_kernels::ring_shape::{CHUNK, RingShape};

use crate::buffers::{Buffers, Inputs, WORD_BYTES};
use crate::cache::{Cache, KvStore};
use crate::error::{CudaError, in_range};
use crate::ring::{RingLayout, SPAN_SLOTS};
use crate::widths::{SHARED_BYTES_MAX, Widths};

/// Positions of one of attention's spans, as `attention.cu` has it.
pub const SPAN: usize = 256;
/// Parts of the vocabulary that the likeliest token is sought in at first.
pub const BEST_PARTS: usize = 64;
/// Blocks along the second and third axis of a launch, on every device.
const BLOCKS_MAX: usize = 65535;

/// Units of a ring that the kernels can count.
const UNITS_MAX: usize = u32::MAX as usize;
/// The largest product: what attention keeps of all spans of all heads, as floats, in bytes.
const _: () = assert!(HEADS_MAX as u64 * BLOCKS_MAX as u64 * HEAD_DIM_MAX as u64 * 4 < 1 << 48);
/// And a token's numbers: every expert that it chooses, in its widest form.
const _: () = assert!(BLOCKS_MAX as u64 * CHOSEN_MAX as u64 * DIMENSION_MAX as u64 * 4 < 1 << 49);

/// What a session takes, buffer by buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSizes {
    /// Tokens that can be kept; of a ring, how far it reaches, a multiple of a chunk.
    pub context: usize,
    /// Tokens of a batch.
    pub batch: usize,
    /// How keys and values are kept.
    pub kv: KvStore,
    pub(crate) vocabulary: usize,
    pub(crate) frequencies: usize,
    /// Bytes of every layer's cache.
    pub(crate) caches: Vec<Cache<usize>>,
    /// Words of the working buffers.
    pub(crate) buffers: Buffers<usize>,
}

impl SessionSizes {
    /// What a network needs to keep `context` tokens, `batch` of them at once. Of a ring, `context`
    /// is how far it reaches at most, first chunk and open chunk included: it is rounded down to
    /// whole chunks.
    ///
    /// # Panics
    /// If a ring is not of as many layers, or of other shapes.
    ///
    /// # Errors
    /// A layer that the kernels cannot run, or more tokens, units or chunks than they can count.
    pub fn of(
        spec: &ModelSpec,
        context: usize,
        batch: usize,
        kv: impl Into<KvStore>,
    ) -> Result<Self, CudaError> {
        let kv = kv.into();
        // Before anything is multiplied: with these limits and the format's, no product below comes
        // near 64 bits.
        in_range("tokens of a batch", batch, 1, BLOCKS_MAX)?;
        let context = match &kv {
            KvStore::Exact(_) => {
                in_range("tokens that are kept", context, 1, BLOCKS_MAX * SPAN)?;
                context
            }
            KvStore::Ring(layers) => {
                for layout in layers {
                    in_range("units of a ring", layout.units, 0, UNITS_MAX)?;
                    in_range("sealed chunks of a ring", layout.chunks, 0, BLOCKS_MAX * SPAN_SLOTS)?;
                }
                assert_eq!(layers.len(), spec.layers.len(), "a ring for each layer");
                for (layer, layout) in spec.layers.iter().zip(layers) {
                    assert_eq!(
                        layout.shape,
                        RingShape::of(&layer.attention),
                        "a ring of the layer's shape"
                    );
                }
                context / CHUNK * CHUNK
            }
        };
        let layers = || spec.layers.iter().enumerate();
        let caches = layers()
            .map(|(index, layer)| Cache::of(&kv, index, &layer.attention, context))
            .collect();
        let rope_dim = spec.layers.iter().map(|layer| layer.attention.rope_dim).max();
        let frequencies = rope_dim.unwrap_or(0) as usize / 2;
        let vocabulary = spec.vocabulary as usize;
        let buffers = Buffers::default();
        let mut sizes = Self { context, batch, kv, vocabulary, frequencies, caches, buffers };
        sizes.buffers = sizes.of_all_layers(spec.hidden as usize);
        for (index, layer) in layers() {
            sizes.check(index, &layer.attention)?;
            let attention = sizes.of_attention(index, &layer.attention);
            let feed_forward =
                sizes.of_feed_forward(&layer.feed_forward.kind, spec.hidden as usize);
            sizes.buffers = sizes.buffers.max(attention).max(feed_forward);
        }
        Ok(sizes)
    }

    /// Refuses what does not fit a block or a launch.
    fn check(&self, layer: usize, attention: &AttentionSpec) -> Result<(), CudaError> {
        let widths = Widths::of(attention);
        let shared = match &self.kv {
            KvStore::Exact(_) => widths.shared_bytes(),
            KvStore::Ring(_) => widths.ring_shared_bytes(1),
        };
        let limits = [
            (
                "bytes of shared memory for attention",
                shared.max(attention.query_dim() as usize * 4),
                SHARED_BYTES_MAX,
            ),
            ("spans of the context", self.spans(layer), BLOCKS_MAX),
            ("heads of a batch", self.batch * attention.heads as usize, BLOCKS_MAX),
        ];
        match limits.into_iter().find(|(_, found, max)| found > max) {
            Some((what, found, max)) => {
                Err(CudaError::Unsupported { layer, what, found: found as u64, max: max as u64 })
            }
            None => Ok(()),
        }
    }

    /// Spans that a layer's attention may have to look at.
    pub(crate) fn spans(&self, layer: usize) -> usize {
        self.ring(layer).map_or(self.context.div_ceil(SPAN), RingLayout::spans)
    }

    /// A layer's ring, if there is one.
    pub(crate) fn ring(&self, layer: usize) -> Option<&RingLayout> {
        match &self.kv {
            KvStore::Exact(_) => None,
            KvStore::Ring(layers) => Some(&layers[layer]),
        }
    }

    /// What every network needs.
    fn of_all_layers(&self, hidden: usize) -> Buffers<usize> {
        let batch = self.batch;
        let turns = 2 * self.frequencies;
        Buffers {
            tokens: batch,
            state: STATE_WORDS,
            turns: batch * turns,
            // A ring turns queries back.
            turns_back: if matches!(self.kv, KvStore::Ring(_)) { turns } else { 0 },
            stream: batch * hidden,
            block: batch * hidden,
            choices: 2 * batch,
            shared_choices: 2 * batch,
            rows: batch,
            logits: self.vocabulary,
            best_values: BEST_PARTS,
            best_tokens: BEST_PARTS,
            normed: Inputs::of(batch, hidden),
            ..Buffers::default()
        }
    }

    fn of_attention(&self, layer: usize, attention: &AttentionSpec) -> Buffers<usize> {
        let (batch, heads) = (self.batch, attention.heads as usize);
        let (widths, spans) = (Widths::of(attention), self.spans(layer));
        let (first, second) = attention.cached();
        let (first, second) = (first as usize, second as usize);
        let all = Buffers {
            query: batch * heads * attention.query_dim() as usize,
            first_query: batch * heads * widths.first,
            second_query: batch * heads * widths.second,
            states: 2 * heads * spans,
            parts: heads * spans * widths.value,
            ..Buffers::default()
        };
        match attention.kind {
            AttentionKind::Grouped { head_dim, .. } => Buffers {
                first: batch * first,
                second: batch * second,
                attended: Inputs::of(batch, heads * head_dim as usize),
                ..all
            },
            AttentionKind::Latent { query_rank, kv_rank, nope_dim, value_dim } => Buffers {
                first: batch * (first + second),
                query_low: batch * query_rank as usize,
                query_normed: Inputs::of(batch, query_rank as usize),
                head_inputs: Inputs::of(batch * heads, nope_dim as usize),
                latents: Inputs::of(batch * heads, kv_rank as usize),
                attended: Inputs::of(batch, heads * value_dim as usize),
                ..all
            },
        }
    }

    fn of_feed_forward(&self, kind: &FeedForwardKind, hidden: usize) -> Buffers<usize> {
        let batch = self.batch;
        let block = |chosen: usize, inner: u32| Buffers {
            activated: Inputs::of(batch * chosen, inner as usize),
            expert_outputs: batch * chosen * hidden,
            ..Buffers::default()
        };
        match *kind {
            FeedForwardKind::Dense { inner } => block(1, inner),
            FeedForwardKind::Experts(experts) => {
                let (count, chosen) = (experts.count as usize, experts.chosen as usize);
                let router = Buffers {
                    router_logits: batch * count,
                    choices: 2 * batch * chosen,
                    starts: count + 1,
                    rows: batch * chosen,
                    ..Buffers::default()
                };
                router.max(block(chosen, experts.inner)).max(block(1, experts.shared_inner))
            }
        }
    }

    /// Bytes of keys and values; of a ring, all that its layers have on the device.
    pub fn kv_bytes(&self) -> u64 {
        self.caches.iter().map(|cache| cache.bytes()).sum()
    }

    /// Logits of a token.
    pub const fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Bytes of the host through which numbers go to the device and come back.
    pub fn staging_bytes(&self) -> usize {
        let Buffers { tokens, state, turns, logits, .. } = self.buffers;
        state.max(turns).max(tokens).max(logits) * WORD_BYTES
    }

    /// Bytes of the working buffers.
    pub fn scratch_bytes(&self) -> u64 {
        self.buffers.bytes()
    }
}

/// Words that say where a batch begins: its first position, its tokens, the row whose
/// logits are wanted, and how far a ring's first chunk is moved.
pub const STATE_WORDS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::KvElement;
    use hardtack_format::spec::{Activation, FeedForwardSpec, HeadNorm, LayerSpec};

    fn sizes(
        heads: u32,
        head_dim: u32,
        context: usize,
        batch: usize,
    ) -> Result<SessionSizes, CudaError> {
        let kind = AttentionKind::Grouped { kv_heads: heads, head_dim, norm: HeadNorm::None };
        let attention = AttentionSpec {
            heads,
            score_scale: 1.0,
            window: 0,
            rope_dim: 0,
            rope_scale: 1.0,
            kind,
        };
        let dense = FeedForwardKind::Dense { inner: 64 };
        let feed_forward = FeedForwardSpec { activation: Activation::Silu, kind: dense };
        let spec = ModelSpec {
            vocabulary: 16,
            hidden: 64,
            context_max: 1 << 28,
            norm_epsilon: 1e-5,
            embedding_scale: 1.0,
            residual_scale: 1.0,
            logit_scale: 1.0,
            layers: vec![LayerSpec { attention, feed_forward }],
        };
        SessionSizes::of(&spec, context, batch, KvElement::F16)
    }

    #[test]
    fn what_does_not_fit_a_launch_is_refused() {
        assert!(sizes(16, 128, 4096, 64).is_ok());
        // The widest head: query, sum and parts in 44 KiB.
        assert!(sizes(1, 3754, 256, 1).is_ok());
        assert!(sizes(1, 3755, 256, 1).is_err());
        assert!(sizes(1, 16, 65535 * SPAN, 1).is_ok());
        assert!(sizes(1, 16, 65535 * SPAN + 1, 1).is_err());
        assert!(sizes(1023, 16, 2048, 64).is_ok());
        assert!(sizes(1024, 16, 2048, 64).is_err());
    }

    #[test]
    fn what_would_wrap_is_refused() {
        for batch in [0, BLOCKS_MAX + 1, 1 << 32, (1 << 62) + 1, usize::MAX] {
            assert!(matches!(sizes(4, 16, 100, batch), Err(CudaError::Range { .. })), "{batch}");
        }
        for context in [0, 65535 * SPAN + 1, 1 << 62, usize::MAX] {
            assert!(matches!(sizes(4, 16, context, 8), Err(CudaError::Range { .. })), "{context}");
        }
    }

    #[test]
    fn bytes_are_those_of_the_cache() {
        let eight = sizes(4, 16, 100, 8).unwrap();
        assert_eq!(eight.kv_bytes(), 100 * 2 * 64 * 2);
        assert!(sizes(4, 16, 100, 9).unwrap().scratch_bytes() > eight.scratch_bytes());
    }
}
