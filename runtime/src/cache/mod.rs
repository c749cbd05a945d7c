//! The keys and values of a session: exactly and for a fixed number of tokens, or in a ring of
//! fixed bytes.

pub mod chunks;
pub mod exact;
pub mod ladder;
pub mod ring;
mod seal;
pub mod size;

use half::f16;
use hardtack_format::KvPolicy;
use hardtack_format::spec::AttentionSpec;
pub use hardtack_kernels::ring_shape as shape;

use self::exact::LayerKv;
use self::ladder::Ladder;
use self::ring::Ring;
use self::shape::PARTS_MAX;
#[cfg(feature = "cuda")]
use self::shape::RingShape;
use self::size::RingSize;
use crate::error::Error;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum KvPrecision {
    /// Half floats, of as many tokens as the context has.
    #[default]
    F16,
    /// Floats, for comparing with a reference.
    F32,
    /// A ring of fixed bytes: codes of a few bits, for any number of tokens.
    Ring(RingOptions),
}

/// What a ring is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RingOptions {
    /// Bytes it may take; 0 for what the context's tokens take at the most precise bits.
    pub bytes: u64,
    /// Bits of a code.
    pub bits: RingBits,
}

/// Who says how many bits a chunk has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RingBits {
    /// The model's own policy if it has one, else four bits and then two.
    #[default]
    Auto,
    /// The caller, for all chunks alike, from when they are new to when they are old.
    Ladder(Ladder),
    /// The model's own policy, chunk by chunk: at most so many bits of a code on average, or as
    /// many as let the whole context fit; and fewer, at its dearer prices, when room is short.
    Learned(Option<f32>),
}

/// The caches of all layers.
#[derive(Debug)]
pub enum Kv {
    /// In half floats.
    F16(Vec<LayerKv<f16>>),
    /// In floats.
    F32(Vec<LayerKv<f32>>),
    /// In codes.
    Ring(Ring),
}

/// How much a cache holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KvSize {
    /// Half floats of so many tokens.
    F16(usize),
    /// Floats of so many tokens.
    F32(usize),
    /// A ring.
    Ring(RingSize),
}

impl KvSize {
    /// Decides the size of a cache for `context` tokens.
    ///
    /// # Errors
    /// A ring that cannot be as small or as large as asked for, or learned bits of a model that has
    /// none.
    pub fn of(
        precision: KvPrecision,
        policy: Option<&KvPolicy>,
        layers: &[AttentionSpec],
        context: usize,
    ) -> Result<Self, Error> {
        Ok(match precision {
            KvPrecision::F16 => Self::F16(context),
            KvPrecision::F32 => Self::F32(context),
            KvPrecision::Ring(options) => {
                Self::Ring(RingSize::of(&options, policy, layers, context)?)
            }
        })
    }

    /// Bytes that such a cache allocates.
    pub fn bytes(self, layers: &[AttentionSpec]) -> u64 {
        let token_elements = || -> u64 {
            layers
                .iter()
                .map(|layer| layer.cached())
                .map(|(first, second)| u64::from(first) + u64::from(second))
                .sum()
        };
        match self {
            Self::F16(tokens) => (token_elements() * 2).saturating_mul(tokens as u64),
            Self::F32(tokens) => (token_elements() * 4).saturating_mul(tokens as u64),
            Self::Ring(size) => size.bytes(layers),
        }
    }
}

impl KvSize {
    /// Bytes of a ring's lists, which are the host's wherever keys and values are.
    #[cfg(feature = "cuda")]
    pub(crate) fn list_bytes<'a>(self, layers: impl Iterator<Item = &'a AttentionSpec>) -> u64 {
        match self {
            Self::F16(_) | Self::F32(_) => 0,
            Self::Ring(size) => {
                layers.map(|layer| size.layer(&RingShape::of(layer)).list_bytes()).sum()
            }
        }
    }
}

impl Kv {
    /// Allocates everything.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn new(size: KvSize, layers: &[AttentionSpec]) -> Result<Self, Error> {
        let layers = layers.iter();
        Ok(match size {
            KvSize::F16(tokens) => Self::F16(
                layers.map(|layer| LayerKv::new(layer, tokens)).collect::<Result<_, _>>()?,
            ),
            KvSize::F32(tokens) => Self::F32(
                layers.map(|layer| LayerKv::new(layer, tokens)).collect::<Result<_, _>>()?,
            ),
            KvSize::Ring(size) => Self::Ring(Ring::new(&size, layers)?),
        })
    }

    /// What a ring's sealed chunks hold: layer, chunk, and bits of its keys and its values. Nothing
    /// for an exact cache.
    pub fn levels(&self) -> impl Iterator<Item = (usize, usize, [u32; PARTS_MAX])> {
        let layers = match self {
            Self::F16(_) | Self::F32(_) => &[][..],
            Self::Ring(ring) => &ring.layers,
        };
        chunks::levels(layers)
    }

    /// Takes the first `count` tokens of another session's cache of the same size; of a ring
    /// everything.
    pub fn copy_from(&mut self, other: &Self, count: usize) {
        match (self, other) {
            (Self::F16(layers), Self::F16(others)) => {
                layers.iter_mut().zip(others).for_each(|(own, other)| own.copy_from(other, count));
            }
            (Self::F32(layers), Self::F32(others)) => {
                layers.iter_mut().zip(others).for_each(|(own, other)| own.copy_from(other, count));
            }
            (Self::Ring(ring), Self::Ring(other)) => ring.copy_from(other),
            _ => unreachable!("a fork's cache is planned as its original's"),
        }
    }

    /// Forgets everything behind the first `position` of `held` tokens, or more where a ring cannot
    /// be brought back to just what it was then. Gives how many tokens are kept.
    pub fn truncate(&mut self, held: usize, position: usize) -> usize {
        match self {
            Self::F16(_) | Self::F32(_) => held.min(position),
            Self::Ring(ring) => ring.truncate(held, position),
        }
    }
}
