//! Keys and values of a layer on the device, declared once: a [`Cache`] of numbers is its sizes, of
//! slots its addresses.

use std::convert::Infallible;

use hardtack_format::spec::AttentionSpec;

use crate::ring::{RingBuffers, RingLayout};

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvElement {
    /// f16
    F16,
    /// f32, for comparing with a reference.
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

/// A part of a layer's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePart {
    /// Of an exact cache: keys or latents, `[heads, context, width]` of its elements.
    Keys,
    /// Of an exact cache: values or rotated keys, `[heads, context, width]`.
    Values,
    /// Of a ring: the chunks in f16.
    F16,
    /// Of a ring: the units.
    Units,
    /// Of a ring: lowest values and ranges.
    Scales,
}

/// Something for each buffer of a layer's cache: its bytes, or where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache<T> {
    /// Both matrices as they are.
    Exact([T; 2]),
    /// A ring.
    Ring(RingBuffers<T>),
}

impl<T> Cache<T> {
    /// Makes something else of each, which is passed on with its name.
    pub fn try_map<U, E>(
        self,
        mut make: impl FnMut(T, &'static str) -> Result<U, E>,
    ) -> Result<Cache<U>, E> {
        Ok(match self {
            Self::Exact([keys, values]) => {
                Cache::Exact([make(keys, "keys")?, make(values, "values")?])
            }
            Self::Ring(ring) => Cache::Ring(ring.try_map(make)?),
        })
    }

    /// A part, if it has that.
    pub fn part(self, part: CachePart) -> Option<T> {
        match (self, part) {
            (Self::Exact([keys, _]), CachePart::Keys) => Some(keys),
            (Self::Exact([_, values]), CachePart::Values) => Some(values),
            (Self::Ring(ring), CachePart::F16) => Some(ring.f16),
            (Self::Ring(ring), CachePart::Units) => Some(ring.units),
            (Self::Ring(ring), CachePart::Scales) => Some(ring.scales),
            _ => None,
        }
    }
}

impl Cache<usize> {
    /// The bytes of a layer, for `context` tokens where they are kept as they are.
    pub fn of(kv: &KvStore, layer: usize, attention: &AttentionSpec, context: usize) -> Self {
        match kv {
            KvStore::Exact(element) => {
                let (first, second) = attention.cached();
                let bytes = |width: u32| width as usize * element.bytes() * context;
                Self::Exact([bytes(first), bytes(second)])
            }
            KvStore::Ring(layers) => Self::Ring(layers[layer].buffers()),
        }
    }

    /// Bytes of all of them.
    pub fn bytes(self) -> u64 {
        let mut sum = 0;
        let Ok(_) = self.try_map(|bytes, _| {
            sum += bytes as u64;
            Ok::<_, Infallible>(())
        });
        sum
    }
}
