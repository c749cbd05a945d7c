//! The ring on the processor: the bytes of the chunks that a layer holds.
//!
//! What a token sees depends on its position alone, not on the pieces in which the tokens came: the
//! tokens of its own chunk and of the first one as f16, every other chunk that is left as codes.
//! Which those are, `chunks/` decides when the first token of a chunk arrives, in every
//! layer by itself, so that layers may be at different tokens while a prompt is processed.

use std::ops::Range;

use bytemuck::cast_slice_mut;
use half::f16;
use half::slice::HalfFloatSliceExt;
use hardtack_format::kv_policy::LayerPolicy;
use hardtack_format::spec::AttentionSpec;
use hardtack_kernels::hadamard::hadamard;
use hardtack_kernels::kv_router::costs;
use hardtack_kernels::nested::{CodeGroup, UNITS_MAX, pack_unit};

use super::chunks::Chunks;
use super::chunks::serialize::Span;
use super::seal::{self, quantize};
use super::sealed::{Chunk, Sealed};
use super::shape::{CHUNK, Matrix, RingShape, Scaled};
use super::size::{LayerSize, RingSize};
use crate::error::Error;
use crate::memory::zeros;
use crate::pipe::Pipe;

/// Codes that sealing a chunk of a layer writes at once.
pub fn codes_max(shape: &RingShape) -> usize {
    shape.matrices.into_iter().map(seal::codes_max).max().unwrap_or(0)
}

/// The ring of one layer.
#[derive(Debug)]
pub struct RingLayer {
    chunks: Chunks,
    /// `[slots]`, each the two matrices, each `[heads, CHUNK, width]`.
    exact: Vec<f16>,
    /// `[units]`, each one bit of all codes of a part of a chunk.
    units: Vec<u8>,
    /// `[chunks, heads]`, each the two matrices' lowest values and ranges, `[2, rows]`.
    scales: Vec<f16>,
}

impl RingLayer {
    /// Allocates everything.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn new(size: &RingSize, attention: &AttentionSpec) -> Result<Self, Error> {
        let shape = RingShape::of(attention);
        let LayerSize { units, chunks } = size.layer(&shape);
        // What comes untouched from the system is allocated before lists are filled.
        let exact = zeros(shape.f16_slots() * shape.chunk_elements())?;
        let (units, scales) =
            (zeros(units * shape.unit_bytes())?, zeros(chunks * shape.scale_elements())?);
        Ok(Self { chunks: Chunks::new(size, shape)?, exact, units, scales })
    }

    /// Bytes of everything that the layer owns.
    #[cfg(test)]
    pub fn allocated_bytes(&self) -> usize {
        (self.exact.capacity() + self.scales.capacity()) * size_of::<f16>()
            + self.units.capacity()
            + self.chunks.allocated_bytes()
    }

    /// Becomes what another session's ring of the same layer is.
    pub fn copy_from(&mut self, other: &Self) {
        self.chunks.copy_from(&other.chunks);
        self.exact.copy_from_slice(&other.exact);
        self.units.copy_from_slice(&other.units);
        self.scales.copy_from_slice(&other.scales);
    }

    /// Writes or reads the layer while this chunk is open.
    ///
    /// # Errors
    /// As [`Chunks::serialize`].
    pub fn serialize(&mut self, pipe: &mut dyn Pipe, open: usize) -> Result<(), Error> {
        let Self { chunks, exact, units, scales } = self;
        let (unit_bytes, scale_elements) =
            (chunks.shape().unit_bytes(), chunks.shape().scale_elements());
        chunks.serialize(pipe, open, |pipe, span| match span {
            Span::Exact => pipe.bytes(cast_slice_mut(exact.reinterpret_cast_mut())),
            Span::Scales(entry) => {
                let scales = &mut scales[entry * scale_elements..][..scale_elements];
                pipe.bytes(cast_slice_mut(scales.reinterpret_cast_mut()))
            }
            Span::Unit(number) => pipe.bytes(&mut units[number * unit_bytes..][..unit_bytes]),
        })
    }

    /// What the layer keeps of a chunk.
    pub const fn shape(&self) -> &RingShape {
        self.chunks.shape()
    }

    /// As [`Chunks::shift`].
    pub const fn shift(&self, chunk: usize) -> usize {
        self.chunks.shift(chunk)
    }

    /// Which chunks the layer holds.
    pub const fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// The chunks to be changed.
    pub const fn chunks_mut(&mut self) -> &mut Chunks {
        &mut self.chunks
    }

    /// As [`Chunks::seen`].
    pub fn chunks_seen(&self) -> impl Iterator<Item = Chunk<'_>> {
        self.chunks.seen()
    }

    /// The chunk that is open.
    pub const fn begun(&self) -> usize {
        self.chunks.begun()
    }

    /// `[CHUNK, width]`: a head's keys (`matrix` 0) or values (1) of a chunk that is exact.
    pub fn exact(&self, chunk: usize, matrix: usize, head: usize) -> &[f16] {
        &self.exact[self.exact_span(chunk, matrix, head)]
    }

    fn exact_span(&self, chunk: usize, matrix: usize, head: usize) -> Range<usize> {
        let slot = if chunk == 0 { 0 } else { self.shape().f16_slots() - 1 };
        let [keys, values] = self.shape().matrices.map(|matrix| matrix.width * CHUNK);
        let before = slot * self.shape().chunk_elements()
            + if matrix == 0 { 0 } else { self.shape().heads * keys };
        let elements = if matrix == 0 { keys } else { values };
        before + head * elements..before + (head + 1) * elements
    }

    /// A group of a sealed chunk's codes from row `first` on, with the rows' lowest values and
    /// ranges.
    pub fn codes(
        &self,
        sealed: &Sealed,
        matrix: usize,
        head: usize,
        (first, rows): (usize, usize),
    ) -> (CodeGroup<'_>, &[f16], &[f16]) {
        let shape = self.shape().matrices[matrix];
        let mut units: [&[u8]; UNITS_MAX] = [&[]; UNITS_MAX];
        let numbers = sealed.units(self.shape().part(matrix));
        for (unit, &number) in units.iter_mut().zip(numbers) {
            *unit = &self.units[self.unit_span(number, matrix, head, first, rows)];
        }
        let [lowest, ranges] = self.scale_spans(sealed.entry, matrix, head, first, rows);
        let group = CodeGroup { bits: numbers.len() as u32, rows, columns: shape.columns(), units };
        (group, &self.scales[lowest], &self.scales[ranges])
    }

    fn unit_span(
        &self,
        number: u32,
        matrix: usize,
        head: usize,
        first: usize,
        rows: usize,
    ) -> Range<usize> {
        let columns = self.shape().matrices[matrix].columns();
        let start = number as usize * self.shape().unit_bytes()
            + self.shape().unit_start(matrix, head)
            + CodeGroup::unit_bytes(first, columns);
        start..start + CodeGroup::unit_bytes(rows, columns)
    }

    fn scale_spans(
        &self,
        entry: u32,
        matrix: usize,
        head: usize,
        first: usize,
        rows: usize,
    ) -> [Range<usize>; 2] {
        let [keys, values] = self.shape().matrices.map(Matrix::rows);
        let head_start =
            entry as usize * self.shape().scale_elements() + head * (keys + values) * 2;
        let start = head_start + if matrix == 0 { 0 } else { keys * 2 };
        let all = self.shape().matrices[matrix].rows();
        [start + first..start + first + rows, start + all + first..start + all + first + rows]
    }

    /// Keeps one token of the open chunk: `values` are `[heads, width]` of both matrices. Those
    /// that have a scale of their own are rotated, here and for good: what is gathered of them has
    /// to be rotated back.
    pub fn store(&mut self, position: usize, values: [&mut [f32]; 2]) {
        assert_eq!(position / CHUNK, self.begun(), "a token of the open chunk");
        let at = position % CHUNK;
        for (matrix, values) in values.into_iter().enumerate() {
            let Matrix { width, scaled } = self.shape().matrices[matrix];
            for (head, values) in values.chunks_exact_mut(width).enumerate() {
                if scaled == Scaled::Token {
                    hadamard(values);
                }
                let start = self.exact_span(self.begun(), matrix, head).start + at * width;
                for (element, value) in self.exact[start..start + width].iter_mut().zip(values) {
                    *element = f16::from_f32(*value);
                }
            }
        }
    }

    /// Begins a chunk, if it has not begun: the one before is sealed. The ladder, or at its
    /// price the layer's policy, sets its bits. `codes` has room for [`codes_max`].
    pub fn begin(&mut self, chunk: usize, policy: Option<&LayerPolicy>, codes: &mut [u8]) {
        let known = self.chunks.wants_costs(chunk).then(|| {
            let policy = policy.expect("a ladder of prices comes from a policy");
            let (heads, width) = (self.shape().heads, self.shape().matrices[0].width);
            let first = self.exact_span(self.begun(), 0, 0).start;
            costs(
                policy,
                &self.exact[first..first + heads * CHUNK * width],
                width,
                self.shape().turned,
            )
        });
        let Some(sealed) = self.chunks.begin(chunk, known.as_ref()) else { return };
        for matrix in 0..self.shape().matrices.len() {
            for head in 0..self.shape().heads {
                self.seal_matrix(&sealed, matrix, head, codes);
            }
        }
    }

    fn seal_matrix(&mut self, sealed: &Sealed, matrix: usize, head: usize, codes: &mut [u8]) {
        let (shape, numbers) =
            (self.shape().matrices[matrix], sealed.units(self.shape().part(matrix)));
        let exact = self.exact_span(sealed.chunk as usize, matrix, head);
        for (first, rows) in shape.groups() {
            let codes = &mut codes[..rows * shape.columns()];
            let spans = self.scale_spans(sealed.entry, matrix, head, first, rows);
            let [lowest, ranges] =
                self.scales.get_disjoint_mut(spans).expect("they do not overlap");
            quantize(shape, &self.exact[exact.clone()], first, lowest, ranges, codes);
            for (unit, &number) in numbers.iter().enumerate() {
                let span = self.unit_span(number, matrix, head, first, rows);
                pack_unit(unit, rows, codes, &mut self.units[span]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
