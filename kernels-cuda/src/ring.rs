//! The quantized ring of keys and values as a device keeps it: what a layer knows of it, and where
//! its bytes are.
//!
//! Which chunk gets which units and entry, what is demoted and what is forgotten is decided on the
//! host. The device has the bytes, in the same order as the host would have them. f16 are
//! `[slots]`, each the two matrices `[heads, CHUNK, width]`. Units are each one bit of every code
//! of one part of a chunk. Lowest values and ranges are `[chunks, heads]`, each of the two
//! matrices, `[2, rows]`. See [`hardtack_kernels::nested`] for what a unit is.

use hardtack_kernels::nested::{CODE_BITS, UNITS_MAX};
use hardtack_kernels::ring_shape::{PARTS_MAX, RingShape, Scaled};

use crate::params::Params;

/// Slots that a block of attention takes: the first chunk, each sealed one and the open one have a
/// slot each.
pub(crate) const SPAN_SLOTS: usize = 4;
/// Words of a layer's table before its chunks, and words of a chunk: its number, entry and bits,
/// and its units.
const TABLE_HEAD_WORDS: usize = 4;
const PLACE_WORDS: usize = 4 + PARTS_MAX * UNITS_MAX;

/// The ring of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLayout {
    /// What it keeps of a chunk.
    pub shape: RingShape,
    /// Units of codes.
    pub units: usize,
    /// Most sealed chunks.
    pub chunks: usize,
}

impl RingLayout {
    /// Bytes of everything that the layer has on the device.
    pub(crate) fn buffers(&self) -> RingBuffers<usize> {
        RingBuffers {
            f16: self.shape.f16_slots() * self.shape.chunk_elements() * 2,
            units: self.units * self.shape.unit_bytes(),
            scales: self.chunks * self.shape.scale_elements() * 2,
            table: (TABLE_HEAD_WORDS + self.chunks * PLACE_WORDS) * 4,
        }
    }

    /// Spans that attention may have to look at.
    pub(crate) const fn spans(&self) -> usize {
        (self.chunks + 2).div_ceil(SPAN_SLOTS)
    }

    /// f16 before those of the open chunk, when it is not the first of the text.
    pub(crate) const fn open_start(&self) -> usize {
        (self.shape.f16_slots() - 1) * self.shape.chunk_elements()
    }

    /// What the kernels know of a layer's ring, as `RingShape` in `ring.cuh`.
    pub(crate) fn params(&self) -> Params {
        let (mut params, mut scales) = (Params::new(), 0);
        let mut halves = 0;
        let shape = &self.shape;
        for (index, matrix) in shape.matrices.into_iter().enumerate() {
            let numbers = [
                matrix.width,
                matrix.rows(),
                matrix.columns(),
                usize::from(matrix.scaled == Scaled::Token),
                shape.part(index),
                shape.head_unit_bytes(shape.part(index)),
                shape.unit_start(index, 0),
                scales,
                halves,
                0,
            ];
            params = numbers.into_iter().fold(params, |params, number| params.u32(number as u32));
            scales += 2 * matrix.rows();
            halves += shape.matrix_elements(index);
        }
        let numbers = [shape.unit_bytes(), shape.scale_elements(), scales, self.open_start()];
        numbers.into_iter().fold(params, |params, number| params.u32(number as u32))
    }

    /// The words of a table of chunks.
    pub(crate) fn table(&self, places: &[ChunkPlace]) -> Vec<u8> {
        assert!(places.len() <= self.chunks, "chunks that fit");
        let mut words = vec![places.len() as u32, 0, 0, 0];
        for place in places {
            self.check(place);
            words.extend([place.chunk, place.entry]);
            words.extend(place.bits);
            words.extend(place.units.as_flattened());
        }
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// Holds a chunk's place to the room there is.
    pub(crate) fn check(&self, place: &ChunkPlace) {
        assert!((place.entry as usize) < self.chunks, "an entry of the ring");
        assert!(
            !self.shape.has_sink() || place.chunk > 0,
            "the first chunk is never sealed where it is kept"
        );
        for (bits, units) in place.bits.into_iter().zip(&place.units).take(self.shape.parts()) {
            assert!(CODE_BITS.contains(&bits), "bits of a code");
            assert!(
                units[..bits as usize].iter().all(|&unit| (unit as usize) < self.units),
                "units of the ring"
            );
        }
    }
}

/// Something for each buffer of a layer's ring: its bytes, or where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingBuffers<T> {
    /// Chunks in f16.
    pub f16: T,
    /// Units of codes.
    pub units: T,
    /// Lowest values and ranges.
    pub scales: T,
    /// Which sealed chunks there are.
    pub table: T,
}

impl<T> RingBuffers<T> {
    /// Makes something else of each, which is passed on with its name.
    pub(crate) fn try_map<U, E>(
        self,
        mut make: impl FnMut(T, &'static str) -> Result<U, E>,
    ) -> Result<RingBuffers<U>, E> {
        Ok(RingBuffers {
            f16: make(self.f16, "open chunks")?,
            units: make(self.units, "sealed chunks")?,
            scales: make(self.scales, "ranges of sealed chunks")?,
            table: make(self.table, "tables of sealed chunks")?,
        })
    }
}

/// Where a sealed chunk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Which chunk of the text: its first token is at `chunk * CHUNK`.
    pub chunk: u32,
    /// Where its lowest values and ranges are.
    pub entry: u32,
    /// Bits of its codes in every part; of latents only the first counts.
    pub bits: [u32; PARTS_MAX],
    /// Numbers of its units in every part, as many as it has bits; what comes after them is not
    /// looked at.
    pub units: [[u32; UNITS_MAX]; PARTS_MAX],
}
