//! How much memory a session takes on a device: from the spec alone, before anything is allocated.

use hardtack_format::encoding::GROUP_COLUMNS;
use hardtack_format::limits::{CHOSEN_MAX, DIMENSION_MAX, HEAD_DIM_MAX, HEADS_MAX};
use hardtack_format::spec::{AttentionKind, AttentionSpec, FeedForwardKind, ModelSpec};
use hardtack_kernels::ring_shape::{CHUNK, RingShape};

use crate::error::{CudaError, in_range};
use crate::ring::{RingLayout, SPAN_SLOTS};

/// Positions of one of attention's spans, as `attention.cu` has it.
pub const SPAN: usize = 256;
/// Parts of the vocabulary that the likeliest token is sought in at first.
pub const BEST_PARTS: usize = 64;
/// Bytes of shared memory that every device gives a block without being asked, less what the
/// kernels declare themselves.
const SHARED_BYTES_MAX: usize = 44 << 10;
/// Blocks along the second and third axis of a launch, on every device.
const BLOCKS_MAX: usize = 65535;

/// Units of a ring that the kernels can count.
const UNITS_MAX: usize = u32::MAX as usize;
/// The largest product: what attention keeps of all spans of all heads, as floats, in bytes.
const _: () = assert!(HEADS_MAX as u64 * BLOCKS_MAX as u64 * HEAD_DIM_MAX as u64 * 4 < 1 << 48);
/// And a token's numbers: every expert that it chooses, in its widest form.
const _: () = assert!(BLOCKS_MAX as u64 * CHOSEN_MAX as u64 * DIMENSION_MAX as u64 * 4 < 1 << 49);

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvElement {
    /// Half floats.
    F16,
    /// Floats, for comparing with a reference.
    F32,
}

impl KvElement {
    /// Bytes of one.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// How a session keeps keys and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvStore {
    /// All of them, as they are.
    Exact(KvElement),
    /// In quantized rings, one for each layer.
    Ring(Vec<RingLayout>),
}

impl From<KvElement> for KvStore {
    fn from(element: KvElement) -> Self {
        Self::Exact(element)
    }
}

/// Rows of a matrix's inputs: floats and codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputSizes {
    /// Floats.
    pub floats: usize,
    /// Groups of 64 codes, each with a scale and a sum.
    pub groups: usize,
}

impl InputSizes {
    /// Room for so many rows of so many columns.
    pub const fn new(rows: usize, columns: usize) -> Self {
        Self { floats: rows * columns, groups: rows * columns.div_ceil(GROUP_COLUMNS) }
    }

    fn max(self, other: Self) -> Self {
        Self { floats: self.floats.max(other.floats), groups: self.groups.max(other.groups) }
    }

    const fn bytes(self) -> usize {
        self.floats * 4 + self.groups * (GROUP_COLUMNS + 8)
    }
}

/// How many elements each buffer of a session has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSizes {
    /// Tokens that can be kept; of a ring, how far it reaches, a multiple of a chunk.
    pub context: usize,
    /// Tokens of a pass.
    pub batch: usize,
    /// How keys and values are kept.
    pub kv: KvStore,
    pub(crate) cached: usize,
    pub(crate) vocabulary: usize,
    pub(crate) frequencies: usize,
    pub(crate) stream: usize,
    pub(crate) query: usize,
    pub(crate) query_low: usize,
    pub(crate) first: usize,
    pub(crate) second: usize,
    pub(crate) first_query: usize,
    pub(crate) second_query: usize,
    pub(crate) states: usize,
    pub(crate) parts: usize,
    pub(crate) router_logits: usize,
    pub(crate) choices: usize,
    pub(crate) starts: usize,
    pub(crate) expert_outputs: usize,
    pub(crate) normed: InputSizes,
    pub(crate) query_normed: InputSizes,
    pub(crate) head_inputs: InputSizes,
    pub(crate) latents: InputSizes,
    pub(crate) attended: InputSizes,
    pub(crate) activated: InputSizes,
}

impl SessionSizes {
    /// What a network needs for so many tokens kept, `batch` of them at once. Of a ring, `context`
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
        let (hidden, kv) = (spec.hidden as usize, kv.into());
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
        let mut sizes = Self {
            context,
            batch,
            kv,
            cached: 0,
            vocabulary: spec.vocabulary as usize,
            frequencies: spec.layers.iter().map(|layer| layer.attention.rope_dim).max().unwrap_or(0)
                as usize
                / 2,
            stream: batch * hidden,
            query: 0,
            query_low: 0,
            first: 0,
            second: 0,
            first_query: 0,
            second_query: 0,
            states: 0,
            parts: 0,
            router_logits: 0,
            choices: batch,
            starts: 0,
            expert_outputs: 0,
            normed: InputSizes::new(batch, hidden),
            query_normed: InputSizes::default(),
            head_inputs: InputSizes::default(),
            latents: InputSizes::default(),
            attended: InputSizes::default(),
            activated: InputSizes::default(),
        };
        for (index, layer) in spec.layers.iter().enumerate() {
            sizes.check(index, &layer.attention)?;
            sizes.add_attention(index, &layer.attention);
            match layer.feed_forward.kind {
                FeedForwardKind::Dense { inner } => sizes.add_block(1, inner as usize, hidden),
                FeedForwardKind::Experts(experts) => {
                    sizes.router_logits = sizes.router_logits.max(batch * experts.count as usize);
                    sizes.choices = sizes.choices.max(batch * experts.chosen as usize);
                    sizes.starts = sizes.starts.max(experts.count as usize + 1);
                    sizes.add_block(experts.chosen as usize, experts.inner as usize, hidden);
                    sizes.add_block(1, experts.shared_inner as usize, hidden);
                }
            }
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

    fn add_attention(&mut self, layer: usize, attention: &AttentionSpec) {
        let (batch, heads) = (self.batch, attention.heads as usize);
        let widths = Widths::of(attention);
        let (first, second) = attention.cached();
        self.cached += (first + second) as usize;
        self.query = self.query.max(batch * heads * attention.query_dim() as usize);
        self.first_query = self.first_query.max(batch * heads * widths.first);
        self.second_query = self.second_query.max(batch * heads * widths.second);
        let spans = self.spans(layer);
        self.states = self.states.max(heads * spans);
        self.parts = self.parts.max(heads * spans * widths.value);
        match attention.kind {
            AttentionKind::Grouped { head_dim, .. } => {
                self.first = self.first.max(batch * first as usize);
                self.second = self.second.max(batch * second as usize);
                self.attended =
                    self.attended.max(InputSizes::new(batch, heads * head_dim as usize));
            }
            AttentionKind::Latent { query_rank, kv_rank, nope_dim, value_dim } => {
                self.first = self.first.max(batch * (first + second) as usize);
                self.query_low = self.query_low.max(batch * query_rank as usize);
                self.query_normed =
                    self.query_normed.max(InputSizes::new(batch, query_rank as usize));
                self.head_inputs =
                    self.head_inputs.max(InputSizes::new(batch * heads, nope_dim as usize));
                self.latents = self.latents.max(InputSizes::new(batch * heads, kv_rank as usize));
                self.attended =
                    self.attended.max(InputSizes::new(batch, heads * value_dim as usize));
            }
        }
    }

    fn add_block(&mut self, chosen: usize, inner: usize, hidden: usize) {
        self.activated = self.activated.max(InputSizes::new(self.batch * chosen, inner));
        self.expert_outputs = self.expert_outputs.max(self.batch * chosen * hidden);
    }

    /// Bytes of keys and values; of a ring, all that its layers have on the device.
    pub fn kv_bytes(&self) -> u64 {
        match &self.kv {
            KvStore::Exact(element) => (self.cached * element.bytes()) as u64 * self.context as u64,
            KvStore::Ring(layers) => layers.iter().map(RingLayout::bytes).sum(),
        }
    }

    /// Numbers by which a ring turns queries back.
    pub(crate) const fn turned_back(&self) -> usize {
        match self.kv {
            KvStore::Exact(_) => 0,
            KvStore::Ring(_) => 2 * self.frequencies,
        }
    }

    /// Logits of a token.
    pub const fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Bytes of the host through which numbers go to the device and come back.
    pub fn staging_bytes(&self) -> usize {
        let (state, turns) = (STATE_WORDS * 4, self.batch * self.frequencies * 8);
        state.max(turns).max(self.batch * 4).max(self.vocabulary * 4)
    }

    /// Bytes of the working buffers.
    pub fn scratch_bytes(&self) -> u64 {
        let words = self.batch
            + STATE_WORDS
            + 2 * self.batch * self.frequencies
            + self.turned_back()
            + 2 * self.stream
            + self.query
            + self.query_low
            + self.first
            + self.second
            + self.first_query
            + self.second_query
            + 2 * self.states
            + self.parts
            + self.router_logits
            + 2 * self.choices
            + 2 * self.batch
            + self.starts
            + self.choices
            + self.expert_outputs
            + self.vocabulary
            + 2 * BEST_PARTS;
        let inputs = [
            self.normed,
            self.query_normed,
            self.head_inputs,
            self.latents,
            self.attended,
            self.activated,
        ];
        (words * 4 + inputs.into_iter().map(InputSizes::bytes).sum::<usize>()) as u64
    }
}

/// Words that tell the kernels where a pass stands: its first position, its tokens, the row whose
/// logits are wanted, and how far a ring's first chunk is moved.
pub const STATE_WORDS: usize = 4;

/// Widths of what attention reads: both parts of a key, and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// The first part of a key: all of it, or the latent.
    pub first: usize,
    /// The second part: nothing, or the rotated key.
    pub second: usize,
    /// A value, or the latent again.
    pub value: usize,
}

impl Widths {
    /// Of one layer.
    pub fn of(attention: &AttentionSpec) -> Self {
        match attention.kind {
            AttentionKind::Grouped { head_dim, .. } => {
                Self { first: head_dim as usize, second: 0, value: head_dim as usize }
            }
            AttentionKind::Latent { kv_rank, .. } => Self {
                first: kv_rank as usize,
                second: attention.rope_dim as usize,
                value: kv_rank as usize,
            },
        }
    }

    /// Dynamic shared memory of a block of attention: the query, the sum so far, and the parts of
    /// the positions' sets.
    pub const fn shared_bytes(&self) -> usize {
        let parts = if self.value > 1024 { self.value } else { 1024 };
        (self.first + self.second + self.value + parts) * 4
    }

    /// Dynamic shared memory of a block of attention over a ring, for so many queries: each of
    /// them, what of it is moved, a span's scores, a part for each slot of it, and the sum so far.
    pub const fn ring_shared_bytes(&self, queries: usize) -> usize {
        let moved = if self.second > 0 { self.second } else { self.first };
        let each =
            self.first + self.second + moved + SPAN_SLOTS * CHUNK + (SPAN_SLOTS + 1) * self.value;
        queries * each * 4
    }

    /// How many queries a block of attention over a ring takes of as many as share keys: 1, 2 or 4.
    pub fn ring_queries(&self, shared: usize) -> usize {
        let fit = [4, 2].into_iter().find(|&queries| {
            shared > queries / 2 && self.ring_shared_bytes(queries) <= SHARED_BYTES_MAX
        });
        fit.unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
