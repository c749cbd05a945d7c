//! An exact cache: a fixed number of tokens of one layer, as they are.

use bytemuck::cast_slice_mut;
use half::f16;
use half::slice::HalfFloatSliceExt;
use hardtack_format::spec::AttentionSpec;

use super::shape::RingShape;
use crate::error::Error;
use crate::memory::zeros;
use crate::pipe::Pipe;

/// A number in the cache.
pub trait Element: Copy + Default {
    /// From a float.
    fn from_f32(value: f32) -> Self;
    /// As bytes of memory.
    fn bytes(elements: &mut [Self]) -> &mut [u8];
}

impl Element for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }
    fn bytes(elements: &mut [Self]) -> &mut [u8] {
        cast_slice_mut(elements)
    }
}

impl Element for f16 {
    fn from_f32(value: f32) -> Self {
        Self::from_f32(value)
    }
    fn bytes(elements: &mut [Self]) -> &mut [u8] {
        cast_slice_mut(elements.reinterpret_cast_mut())
    }
}

/// One layer's two matrices: keys and values, or latents and rotated keys.
#[derive(Debug)]
pub struct Exact<E> {
    shape: RingShape,
    matrices: [Rows<E>; 2],
}

impl<E: Element> Exact<E> {
    /// Allocates room for `capacity` tokens.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn new(attention: &AttentionSpec, capacity: usize) -> Result<Self, Error> {
        let shape = RingShape::of(attention);
        let [first, second] = shape.matrices.map(|matrix| matrix.width);
        let rows = |width| Rows::new(shape.heads, capacity, width);
        Ok(Self { matrices: [rows(first)?, rows(second)?], shape })
    }

    /// What the layer keeps of a token.
    pub const fn shape(&self) -> &RingShape {
        &self.shape
    }

    /// Keeps one token: `[heads, width]` of each matrix.
    pub fn store(&mut self, position: usize, values: [&[f32]; 2]) {
        self.matrices
            .iter_mut()
            .zip(values)
            .for_each(|(rows, values)| rows.store(position, values));
    }

    /// `[count, width]`: consecutive tokens of one head of a matrix.
    pub fn span(&self, matrix: usize, head: usize, first: usize, count: usize) -> &[E] {
        self.matrices[matrix].span(head, first, count)
    }

    /// Takes the first `count` tokens of another session's cache for the same layer.
    pub fn copy_from(&mut self, other: &Self, count: usize) {
        let pairs = self.matrices.iter_mut().zip(&other.matrices);
        pairs.for_each(|(rows, other)| rows.copy_from(other, count));
    }

    /// Writes the first `count` tokens, or reads them.
    ///
    /// # Errors
    /// What the pipe says.
    pub fn serialize(&mut self, pipe: &mut dyn Pipe, count: usize) -> Result<(), Error> {
        self.matrices.iter_mut().try_for_each(|rows| rows.serialize(pipe, count))
    }
}

/// One matrix, `[heads, capacity, width]`: a head's tokens are side by side.
#[derive(Debug)]
struct Rows<E> {
    elements: Vec<E>,
    capacity: usize,
    width: usize,
}

impl<E: Element> Rows<E> {
    fn new(heads: usize, capacity: usize, width: usize) -> Result<Self, Error> {
        Ok(Self { elements: zeros(heads * capacity * width)?, capacity, width })
    }

    fn store(&mut self, position: usize, values: &[f32]) {
        assert!(position < self.capacity, "position within the cache");
        for (head, values) in values.chunks_exact(self.width).enumerate() {
            let at = (head * self.capacity + position) * self.width;
            for (element, &value) in self.elements[at..at + self.width].iter_mut().zip(values) {
                *element = E::from_f32(value);
            }
        }
    }

    fn span(&self, head: usize, first: usize, count: usize) -> &[E] {
        let at = (head * self.capacity + first) * self.width;
        &self.elements[at..at + count * self.width]
    }

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

    fn serialize(&mut self, pipe: &mut dyn Pipe, count: usize) -> Result<(), Error> {
        let mut heads = self.elements.chunks_exact_mut(self.capacity * self.width);
        heads.try_for_each(|head| pipe.bytes(E::bytes(&mut head[..count * self.width])))
    }
}
