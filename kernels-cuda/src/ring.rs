//! The quantized ring of keys and values as a device keeps it: what a layer is told of it, and where its bytes stand.
//!
//! Which chunk gets which units and entry, what is demoted and what is forgotten is decided on the host. The device has the
//! bytes, in the same order as the host would have them: half floats `[slots]`, each the two matrices `[heads, CHUNK, width]`;
//! units, each one bit of every code of one part of a chunk; and lowest values and ranges `[chunks, heads]`, each of the two
//! matrices, `[2, rows]`. See [`hardtack_kernels::nested`] for what a unit is.

use hardtack_format::spec::{AttentionKind, AttentionSpec};
use hardtack_kernels::nested::{CODE_BITS, CodeGroup, GROUP_ROWS, TILE_COLUMNS, TILE_ROWS, UNITS_MAX};

use crate::params::Params;

/// Tokens of a chunk.
pub const CHUNK: usize = 64;
const _: () = assert!(CHUNK == GROUP_ROWS && CHUNK.is_multiple_of(TILE_COLUMNS), "a chunk is a group of codes");
/// Most parts of a chunk that have bits of their own: keys and values.
pub const PARTS_MAX: usize = 2;

/// Slots that a block of attention takes: the first chunk, each sealed one and the open one have a slot each.
pub(crate) const SPAN_SLOTS: usize = 4;
/// Words of a layer's table before its chunks, and words of a chunk: its number, entry and bits, and its units.
const TABLE_HEAD_WORDS: usize = 4;
const PLACE_WORDS: usize = 4 + PARTS_MAX * UNITS_MAX;

/// What shares a lowest value and a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaled {
    /// One channel of all tokens of a chunk. Codes are `[channels, tokens]`.
    Channel,
    /// All channels of one token, kept rotated by the Hadamard transform. Codes are `[tokens, channels]`.
    Token,
}

/// One head's keys or values of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingMatrix {
    /// Numbers of a token.
    pub width: usize,
    /// What has a scale.
    pub scaled: Scaled,
}

impl RingMatrix {
    /// Rows of codes, each with its scale.
    pub const fn rows(self) -> usize {
        match self.scaled {
            Scaled::Channel => self.width.next_multiple_of(TILE_ROWS),
            Scaled::Token => CHUNK,
        }
    }

    /// Columns of codes.
    pub const fn columns(self) -> usize {
        match self.scaled {
            Scaled::Channel => CHUNK,
            Scaled::Token => self.width.next_multiple_of(TILE_COLUMNS),
        }
    }

    /// Bytes of one bit of every code.
    pub const fn unit_bytes(self) -> usize {
        CodeGroup::unit_bytes(self.rows(), self.columns())
    }
}

/// The ring of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLayout {
    /// Heads that are cached.
    pub heads: usize,
    /// Of each head: keys and values, or latents and rotated keys.
    pub matrices: [RingMatrix; 2],
    /// How many positions back a token sees, itself included; 0 for all.
    pub window: usize,
    /// Units of codes.
    pub units: usize,
    /// Most sealed chunks.
    pub chunks: usize,
}

impl RingLayout {
    /// The ring of a layer with room for so many units and so many sealed chunks.
    pub fn new(attention: &AttentionSpec, units: usize, chunks: usize) -> Self {
        let (first, second) = attention.cached();
        let (heads, scaled) = match attention.kind {
            AttentionKind::Grouped { kv_heads, .. } => (kv_heads, Scaled::Token),
            AttentionKind::Latent { .. } => (1, Scaled::Channel),
        };
        let keys = RingMatrix { width: (first / heads) as usize, scaled: Scaled::Channel };
        let values = RingMatrix { width: (second / heads) as usize, scaled };
        let (heads, window) = (heads as usize, attention.window as usize);
        Self { heads, matrices: [keys, values], window, units, chunks }
    }

    /// Chunks of half floats: the open one and, without a window, the first one of the text before it.
    pub const fn half_slots(&self) -> usize {
        1 + (self.window == 0) as usize
    }

    /// Half floats of a chunk.
    pub const fn chunk_elements(&self) -> usize {
        let [first, second] = self.matrices;
        self.heads * (first.width + second.width) * CHUNK
    }

    /// Parts with bits of their own: keys and values; or one, where latents are both.
    pub const fn parts(&self) -> usize {
        match self.matrices[1].scaled {
            Scaled::Token => PARTS_MAX,
            Scaled::Channel => 1,
        }
    }

    /// The part that a matrix belongs to.
    pub const fn part(&self, matrix: usize) -> usize {
        if self.parts() == 1 { 0 } else { matrix }
    }

    /// Bytes of one head in a unit of a matrix's part, and where in them the matrix begins.
    const fn head_unit_bytes(&self, matrix: usize) -> (usize, usize) {
        let [first, second] = [self.matrices[0].unit_bytes(), self.matrices[1].unit_bytes()];
        match (self.parts(), matrix) {
            (1, 0) => (first + second, 0),
            (1, _) => (first + second, first),
            (_, 0) => (first, 0),
            _ => (second, 0),
        }
    }

    /// Bytes of a unit: those of the larger part.
    pub const fn unit_bytes(&self) -> usize {
        let [first, second] = [self.head_unit_bytes(0).0, self.head_unit_bytes(1).0];
        self.heads * if first > second { first } else { second }
    }

    /// Half floats of a chunk's lowest values and ranges.
    pub const fn scale_elements(&self) -> usize {
        let [first, second] = self.matrices;
        self.heads * (first.rows() + second.rows()) * 2
    }

    /// Bytes of a part of the cache.
    pub(crate) const fn part_bytes(&self, part: CachePart) -> usize {
        match part {
            CachePart::Halves => self.half_slots() * self.chunk_elements() * 2,
            CachePart::Units => self.units * self.unit_bytes(),
            CachePart::Scales => self.chunks * self.scale_elements() * 2,
            CachePart::Keys | CachePart::Values => 0,
        }
    }

    /// Bytes of the table that tells the kernels which chunks are there.
    pub(crate) const fn table_bytes(&self) -> usize {
        (TABLE_HEAD_WORDS + self.chunks * PLACE_WORDS) * 4
    }

    /// Bytes of everything that the layer has on the device.
    pub const fn bytes(&self) -> u64 {
        let halves = self.part_bytes(CachePart::Halves);
        (halves + self.part_bytes(CachePart::Units) + self.part_bytes(CachePart::Scales) + self.table_bytes()) as u64
    }

    /// Spans that attention may have to look at.
    pub(crate) const fn spans(&self) -> usize {
        (self.chunks + 2).div_ceil(SPAN_SLOTS)
    }

    /// Which of the chunks of half floats is the open one's, when it is not the first of the text.
    pub(crate) const fn open_slot(&self) -> usize {
        self.half_slots() - 1
    }

    /// The matrix whose numbers are weighed: latents are keys and values in one.
    pub(crate) const fn value_matrix(&self) -> usize {
        self.parts() - 1
    }

    /// What the kernels know of a layer's ring, as `RingShape` in `ring.cuh`.
    pub fn params(&self) -> Params {
        let (mut params, mut scales) = (Params::new(), 0);
        let mut halves = 0;
        for (index, matrix) in self.matrices.into_iter().enumerate() {
            let (head_bytes, start) = self.head_unit_bytes(index);
            let numbers = [
                matrix.width,
                matrix.rows(),
                matrix.columns(),
                usize::from(matrix.scaled == Scaled::Token),
                self.part(index),
                head_bytes,
                start,
                scales,
                halves,
                0,
            ];
            params = numbers.into_iter().fold(params, |params, number| params.u32(number as u32));
            scales += 2 * matrix.rows();
            halves += self.heads * matrix.width * CHUNK;
        }
        let slot = self.open_slot() * self.chunk_elements();
        let numbers = [self.unit_bytes(), self.scale_elements(), scales, slot];
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
        assert!(self.window > 0 || place.chunk > 0, "the first chunk is never sealed where it is kept");
        for (bits, units) in place.bits.into_iter().zip(&place.units).take(self.parts()) {
            assert!(CODE_BITS.contains(&bits), "bits of a code");
            assert!(units[..bits as usize].iter().all(|&unit| (unit as usize) < self.units), "units of the ring");
        }
    }
}

/// Where a sealed chunk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Which chunk of the text: its first token stands at `chunk * CHUNK`.
    pub chunk: u32,
    /// Where its lowest values and ranges are.
    pub entry: u32,
    /// Bits of its codes in every part; of latents only the first counts.
    pub bits: [u32; PARTS_MAX],
    /// Numbers of its units in every part, as many as it has bits; what is behind them is not looked at.
    pub units: [[u32; UNITS_MAX]; PARTS_MAX],
}

/// A part of a layer's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePart {
    /// Of an exact cache: keys or latents, `[heads, context, width]` of its elements.
    Keys,
    /// Of an exact cache: values or rotated keys, `[heads, context, width]`.
    Values,
    /// Of a ring: the chunks of half floats.
    Halves,
    /// Of a ring: the units.
    Units,
    /// Of a ring: lowest values and ranges.
    Scales,
}
