//! The keys and values of a session: exactly and for a fixed number of tokens, or in a ring of
//! fixed bytes.

pub mod chunks;
pub mod exact;
pub mod ladder;
pub mod ring;
mod seal;
pub mod sealed;
pub mod size;

use half::f16;
use hardtack_format::kv_policy::LayerPolicy;
use hardtack_format::spec::AttentionSpec;
pub use hardtack_kernels::ring_shape as shape;

use self::chunks::serialize::serialize_all;
use self::chunks::{ChunkBits, Chunks, HoldsChunks};
use self::exact::Exact;
use self::ring::RingLayer;
use self::shape::{CHUNK, RingShape, Scaled};
use self::size::KvSize;
use crate::error::Error;
use crate::pipe::Pipe;

/// The caches of all layers, which are kept alike.
#[derive(Debug)]
pub struct Cache {
    /// Of every layer, in order.
    pub layers: Vec<LayerCache>,
}

impl Cache {
    /// Allocates everything.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn new<'a>(
        size: &KvSize,
        layers: impl Iterator<Item = &'a AttentionSpec>,
    ) -> Result<Self, Error> {
        let layer = |attention: &AttentionSpec| {
            Ok(match size {
                KvSize::F16(tokens) => LayerCache::F16(Exact::new(attention, *tokens)?),
                KvSize::F32(tokens) => LayerCache::F32(Exact::new(attention, *tokens)?),
                KvSize::Ring(size) => LayerCache::Ring(RingLayer::new(size, attention)?),
            })
        };
        Ok(Self { layers: layers.map(layer).collect::<Result<_, Error>>()? })
    }

    /// What a ring's sealed chunks hold; none for an exact cache.
    pub fn levels(&self) -> impl Iterator<Item = ChunkBits> {
        chunks::levels(&self.layers)
    }

    /// Whether a batch may be left between two layers. What an exact cache has beyond its position
    /// is overwritten; a ring demotes and evicts for good, in one layer after another, when the
    /// first token of a chunk arrives.
    pub fn may_stop(&self, position: usize, tokens: usize) -> bool {
        let at = position % CHUNK;
        let within_chunk = at > 0 && at + tokens <= CHUNK;
        within_chunk || !matches!(self.layers.first(), Some(LayerCache::Ring(_)))
    }

    /// Forgets everything after the first `position` of `held` tokens, or more where a ring cannot
    /// be brought back to just what it was then. Returns how many tokens are kept.
    pub fn truncate(&mut self, held: usize, position: usize) -> usize {
        chunks::truncate(&mut self.layers, held, position)
    }

    /// Takes the first `count` tokens of another session's cache of the same size; of a ring
    /// everything.
    pub fn copy_from(&mut self, other: &Self, count: usize) {
        for layers in self.layers.iter_mut().zip(&other.layers) {
            match layers {
                (LayerCache::F16(own), LayerCache::F16(other)) => own.copy_from(other, count),
                (LayerCache::F32(own), LayerCache::F32(other)) => own.copy_from(other, count),
                (LayerCache::Ring(own), LayerCache::Ring(other)) => own.copy_from(other),
                _ => unreachable!("a fork's cache is planned as its original's"),
            }
        }
    }

    /// Writes the keys and values of the first `count` tokens, or reads them.
    ///
    /// # Errors
    /// What the pipe says, or no ring can hold what is read.
    pub fn serialize(&mut self, pipe: &mut dyn Pipe, count: usize) -> Result<(), Error> {
        serialize_all(pipe, count, &mut self.layers, |pipe, _, layer, open| match layer {
            LayerCache::F16(exact) => exact.serialize(pipe, count),
            LayerCache::F32(exact) => exact.serialize(pipe, count),
            LayerCache::Ring(ring) => ring.serialize(pipe, open),
        })
    }
}

/// What one layer keeps.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a session has one for each layer, all alike")]
pub enum LayerCache {
    /// Every token as f16.
    F16(Exact<f16>),
    /// Every token as f32.
    F32(Exact<f32>),
    /// A ring of chunks.
    Ring(RingLayer),
}

/// Consecutive tokens of one head, exactly as they are kept: `[tokens, width]`.
#[derive(Clone, Copy, Debug)]
pub enum ExactRows<'a> {
    /// As f16.
    F16(&'a [f16]),
    /// As f32.
    F32(&'a [f32]),
}

impl LayerCache {
    /// What is kept of a token or of a chunk.
    pub const fn shape(&self) -> &RingShape {
        match self {
            Self::F16(exact) => exact.shape(),
            Self::F32(exact) => exact.shape(),
            Self::Ring(ring) => ring.shape(),
        }
    }

    /// How many of `tokens`, the first at `position`, are stored before the first of them attends:
    /// in a ring, those of one chunk.
    pub fn together(&self, position: usize, tokens: usize) -> usize {
        match self {
            Self::F16(_) | Self::F32(_) => tokens,
            Self::Ring(_) => tokens.min(CHUNK - position % CHUNK),
        }
    }

    /// Begins the chunk of this position if it has not begun: a ring seals the one before. `codes`
    /// has room for [`ring::codes_max`].
    pub fn begin(&mut self, position: usize, policy: Option<&LayerPolicy>, codes: &mut [u8]) {
        if let Self::Ring(ring) = self {
            ring.begin(position / CHUNK, policy, codes);
        }
    }

    /// Keeps one token: `[heads, width]` of each matrix. A ring turns values as it keeps them, so
    /// they are used up.
    pub fn store(&mut self, position: usize, values: [&mut [f32]; 2]) {
        match self {
            Self::F16(exact) => exact.store(position, values.map(|values| &*values)),
            Self::F32(exact) => exact.store(position, values.map(|values| &*values)),
            Self::Ring(ring) => ring.store(position, values),
        }
    }

    /// How far the first chunk's keys are moved, seen from `position`.
    pub const fn shift(&self, position: usize) -> usize {
        match self {
            Self::F16(_) | Self::F32(_) => 0,
            Self::Ring(ring) => ring.shift(position / CHUNK),
        }
    }

    /// Whether values are kept rotated: results have to be rotated back.
    pub fn turns_values(&self) -> bool {
        matches!(self, Self::Ring(ring) if ring.shape().matrices[1].scaled == Scaled::Token)
    }

    /// The first `count` tokens of a chunk that is exact, of one head of a matrix.
    pub fn exact(&self, chunk: usize, matrix: usize, head: usize, count: usize) -> ExactRows<'_> {
        match self {
            Self::F16(exact) => ExactRows::F16(exact.span(matrix, head, chunk * CHUNK, count)),
            Self::F32(exact) => ExactRows::F32(exact.span(matrix, head, chunk * CHUNK, count)),
            Self::Ring(ring) => {
                let width = ring.shape().matrices[matrix].width;
                ExactRows::F16(&ring.exact(chunk, matrix, head)[..count * width])
            }
        }
    }
}

impl HoldsChunks for LayerCache {
    fn chunks(&self) -> Option<&Chunks> {
        match self {
            Self::F16(_) | Self::F32(_) => None,
            Self::Ring(ring) => Some(ring.chunks()),
        }
    }

    fn chunks_mut(&mut self) -> Option<&mut Chunks> {
        match self {
            Self::F16(_) | Self::F32(_) => None,
            Self::Ring(ring) => Some(ring.chunks_mut()),
        }
    }
}
