//! The keys and values of a session: a fixed number of tokens for every layer, allocated once.

use half::f16;
use hardtack_format::spec::AttentionSpec;
use hardtack_kernels::KernelTable;

use crate::error::Error;
use crate::memory::zeros;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvPrecision {
    /// Half floats.
    #[default]
    F16,
    /// Floats, for comparing with a reference.
    F32,
}

impl KvPrecision {
    /// Bytes of one element.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// A number in the cache, with the kernels that read it.
pub trait KvElement: Copy + Default + Send + Sync {
    /// From a float.
    fn from_f32(value: f32) -> Self;
    /// `sum of a * b`
    fn dot(kernels: &KernelTable, a: &[f32], b: &[Self]) -> f32;
    /// `out += weight * x`
    fn add_scaled(kernels: &KernelTable, out: &mut [f32], weight: f32, x: &[Self]);
}

impl KvElement for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }
    fn dot(kernels: &KernelTable, a: &[f32], b: &[Self]) -> f32 {
        (kernels.dot)(a, b)
    }
    fn add_scaled(kernels: &KernelTable, out: &mut [f32], weight: f32, x: &[Self]) {
        (kernels.add_scaled)(out, weight, x);
    }
}

impl KvElement for f16 {
    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }
    fn dot(kernels: &KernelTable, a: &[f32], b: &[Self]) -> f32 {
        (kernels.dot_f16)(a, b)
    }
    fn add_scaled(kernels: &KernelTable, out: &mut [f32], weight: f32, x: &[Self]) {
        (kernels.add_scaled_f16)(out, weight, x);
    }
}

/// One of a layer's two caches: `[heads, capacity, width]`, so that a head's tokens stand together.
#[derive(Debug)]
pub struct Rows<E> {
    elements: Vec<E>,
    capacity: usize,
    width: usize,
}

impl<E: KvElement> Rows<E> {
    fn new(heads: usize, capacity: usize, width: usize) -> Result<Self, Error> {
        Ok(Self { elements: zeros(heads * capacity * width)?, capacity, width })
    }

    /// Keeps one token: `values` is `[heads, width]`.
    pub fn store(&mut self, position: usize, values: &[f32]) {
        assert!(position < self.capacity, "position within the cache");
        for (head, values) in values.chunks_exact(self.width).enumerate() {
            let at = (head * self.capacity + position) * self.width;
            for (element, &value) in self.elements[at..at + self.width].iter_mut().zip(values) {
                *element = E::from_f32(value);
            }
        }
    }

    /// `[count, width]`: consecutive tokens of one head.
    pub fn span(&self, head: usize, first: usize, count: usize) -> &[E] {
        let at = (head * self.capacity + first) * self.width;
        &self.elements[at..at + count * self.width]
    }
}

/// One layer's caches: keys and values, or for latent attention latents and rotated keys.
#[derive(Debug)]
pub struct LayerKv<E> {
    /// Keys `[kv_heads, capacity, head_dim]`, or latents `[1, capacity, kv_rank]`.
    pub first: Rows<E>,
    /// Values `[kv_heads, capacity, head_dim]`, or rotated keys `[1, capacity, rope_dim]`.
    pub second: Rows<E>,
}

impl<E: KvElement> LayerKv<E> {
    fn new(attention: &AttentionSpec, capacity: usize) -> Result<Self, Error> {
        let (heads, first, second) = cached_shape(attention);
        Ok(Self { first: Rows::new(heads, capacity, first)?, second: Rows::new(heads, capacity, second)? })
    }
}

/// Heads that are cached, and the widths of their two rows.
fn cached_shape(attention: &AttentionSpec) -> (usize, usize, usize) {
    use hardtack_format::spec::AttentionKind;
    let (first, second) = attention.cached();
    let heads = match attention.kind {
        AttentionKind::Grouped { kv_heads, .. } => kv_heads,
        AttentionKind::Latent { .. } => 1,
    };
    (heads as usize, (first / heads) as usize, (second / heads) as usize)
}

/// The caches of all layers.
#[derive(Debug)]
pub enum Kv {
    /// In half floats.
    F16(Vec<LayerKv<f16>>),
    /// In floats.
    F32(Vec<LayerKv<f32>>),
}

impl Kv {
    /// Room for `capacity` tokens in every layer.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn new<'a>(
        layers: impl Iterator<Item = &'a AttentionSpec>,
        capacity: usize,
        precision: KvPrecision,
    ) -> Result<Self, Error> {
        Ok(match precision {
            KvPrecision::F16 => Self::F16(layers.map(|layer| LayerKv::new(layer, capacity)).collect::<Result<_, _>>()?),
            KvPrecision::F32 => Self::F32(layers.map(|layer| LayerKv::new(layer, capacity)).collect::<Result<_, _>>()?),
        })
    }

    /// Bytes that [`Kv::new`] allocates for one token.
    pub fn token_bytes<'a>(layers: impl Iterator<Item = &'a AttentionSpec>, precision: KvPrecision) -> u64 {
        layers
            .map(|layer| {
                let (first, second) = layer.cached();
                (u64::from(first) + u64::from(second)) * precision.bytes()
            })
            .sum()
    }
}
