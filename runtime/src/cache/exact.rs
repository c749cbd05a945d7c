//! An exact cache: a fixed number of tokens of one layer, as they are.

use bytemuck::cast_slice_mut;
use half::f16;
use half::slice::HalfFloatSliceExt;
use hardtack_format::spec::AttentionSpec;
use hardtack_kernels::KernelTable;
use hardtack_kernels::attention::{Scores, gather_each, score_each};

use super::shape::cached_shape;
use crate::error::Error;
use crate::memory::zeros;
use crate::saved::Pipe;

/// A number in the cache, with the kernels that read it.
pub trait KvElement: Copy + Default + Send + Sync {
    /// From a float.
    fn from_f32(value: f32) -> Self;
    /// As bytes of memory.
    fn bytes(elements: &mut [Self]) -> &mut [u8];
    /// [`KernelTable::score_f16`] for such numbers.
    fn score(kernels: &KernelTable, queries: &[&[f32]], keys: &[Self], scores: &mut [Scores]);
    /// [`KernelTable::gather_f16`] for such numbers.
    fn gather(
        kernels: &KernelTable,
        weights: &[Scores],
        values: &[Self],
        width: usize,
        out: &mut [f32],
    );
}

impl KvElement for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }
    fn bytes(elements: &mut [Self]) -> &mut [u8] {
        cast_slice_mut(elements)
    }
    fn score(kernels: &KernelTable, queries: &[&[f32]], keys: &[Self], scores: &mut [Scores]) {
        score_each(queries, keys, scores, kernels.dot);
    }
    fn gather(
        kernels: &KernelTable,
        weights: &[Scores],
        values: &[Self],
        width: usize,
        out: &mut [f32],
    ) {
        gather_each(weights, values, width, out, kernels.add_scaled);
    }
}

impl KvElement for f16 {
    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }
    fn bytes(elements: &mut [Self]) -> &mut [u8] {
        cast_slice_mut(elements.reinterpret_cast_mut())
    }
    fn score(kernels: &KernelTable, queries: &[&[f32]], keys: &[Self], scores: &mut [Scores]) {
        (kernels.score_f16)(queries, keys, scores);
    }
    fn gather(
        kernels: &KernelTable,
        weights: &[Scores],
        values: &[Self],
        width: usize,
        out: &mut [f32],
    ) {
        (kernels.gather_f16)(weights, values, width, out);
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

    /// Takes the first `count` tokens of every head from rows of the same shape.
    fn copy_from(&mut self, other: &Self, count: usize) {
        let head = self.capacity * self.width;
        if head == 0 {
            return;
        }
        let (heads, used) = (self.elements.chunks_exact_mut(head), count * self.width);
        for (head, other) in heads.zip(other.elements.chunks_exact(head)) {
            head[..used].copy_from_slice(&other[..used]);
        }
    }

    /// Passes the first `count` tokens of every head.
    fn pass(&mut self, pipe: &mut impl Pipe, count: usize) -> Result<(), Error> {
        let mut heads = self.elements.chunks_exact_mut(self.capacity * self.width);
        heads.try_for_each(|head| pipe.bytes(E::bytes(&mut head[..count * self.width])))
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
    pub(super) fn new(attention: &AttentionSpec, capacity: usize) -> Result<Self, Error> {
        let (heads, first, second) = cached_shape(attention);
        Ok(Self {
            first: Rows::new(heads, capacity, first)?,
            second: Rows::new(heads, capacity, second)?,
        })
    }

    /// Takes the first `count` tokens of another session's cache for the same layer.
    pub(super) fn copy_from(&mut self, other: &Self, count: usize) {
        self.first.copy_from(&other.first, count);
        self.second.copy_from(&other.second, count);
    }

    /// Passes the keys and values of the first `count` tokens into a file or out of it.
    ///
    /// # Errors
    /// What the pipe says.
    pub fn pass(&mut self, pipe: &mut impl Pipe, count: usize) -> Result<(), Error> {
        self.first.pass(pipe, count)?;
        self.second.pass(pipe, count)
    }
}
