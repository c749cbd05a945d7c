//! The ring itself: which chunks a layer holds, where their bytes are, and what happens when a chunk begins.
//!
//! What a token sees depends on its position alone, not on the pieces in which the tokens came: the tokens of its own chunk
//! and of the first one in half floats, every other chunk that is left as codes. Everything that changes, sealing, demotion
//! and eviction, changes when the first token of a chunk arrives. Every layer has its own units and decides by itself, so
//! that layers may be at different tokens while a prompt is processed.

mod pass;

use std::collections::VecDeque;
use std::ops::Range;

use half::f16;
use hardtack_format::kv_policy::{Costs, LayerPolicy};
use hardtack_format::spec::AttentionSpec;
use hardtack_kernels::hadamard::hadamard;
use hardtack_kernels::kv_router::{choose, costs};
use hardtack_kernels::nested::{CodeGroup, UNITS_MAX, pack_unit};

use super::ladder::{Ladder, Level, STEPS_MAX, Step};
use super::seal::{codes_max, quantize};
use super::shape::{CHUNK, Matrix, PARTS_MAX, RingShape, Scaled};
use super::size::{LayerSize, RingSize};
use crate::error::Error;
use crate::memory::zeros;

/// The rings of all layers.
#[derive(Debug)]
pub struct Ring {
    pub layers: Vec<RingLayer>,
}

impl Ring {
    /// Allocates everything.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn new<'a>(size: &RingSize, layers: impl Iterator<Item = &'a AttentionSpec>) -> Result<Self, Error> {
        Ok(Self { layers: layers.map(|layer| RingLayer::new(size, layer)).collect::<Result<_, _>>()? })
    }

    /// Brings the ring back to what it was after so many of its tokens, or after fewer. Gives after how many.
    pub fn truncate(&mut self, held: usize, position: usize) -> usize {
        if position >= held {
            return held;
        }
        let chunk = position / CHUNK;
        // What a layer has of that time: every token, only whole chunks, or nothing.
        let begun = self.layers.iter().all(|layer| layer.begun == chunk);
        let first = chunk == 0 && self.layers.iter().all(|layer| layer.shape.has_sink());
        let whole = self.layers.iter().all(|layer| layer.changed <= chunk);
        let (chunk, position) = match (begun || first, whole) {
            (true, _) => (chunk, position),
            (false, true) => (chunk, chunk * CHUNK),
            (false, false) => (0, 0),
        };
        self.layers.iter_mut().for_each(|layer| layer.forget_from(chunk));
        position
    }

    /// Codes that sealing a chunk writes at once.
    pub fn codes_max(layers: &[AttentionSpec]) -> usize {
        let matrices = layers.iter().flat_map(|layer| RingShape::of(layer).matrices);
        matrices.map(codes_max).max().unwrap_or(0)
    }
}

/// A chunk in codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Which chunk of the text.
    pub chunk: u32,
    /// How far it has come down the ladder.
    step: u32,
    /// Bits of its codes at every step.
    levels: [Level; STEPS_MAX],
    /// Where its lowest values and ranges are.
    entry: u32,
    /// Where its codes are, the first units of each part.
    units: [[u32; UNITS_MAX]; PARTS_MAX],
}

impl Sealed {
    /// Bits of its codes.
    pub const fn level(&self) -> Level {
        self.levels[self.step as usize]
    }

    /// Numbers of the units of a part.
    fn units(&self, part: usize) -> &[u32] {
        &self.units[part][..self.level().0[part] as usize]
    }
}

/// A chunk that a token may see.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// In half floats.
    Halves {
        /// Which chunk of the text.
        chunk: usize,
    },
    /// In codes.
    Codes(&'a Sealed),
}

/// The ring of one layer.
#[derive(Debug)]
pub struct RingLayer {
    shape: RingShape,
    ladder: Ladder,
    reach: usize,
    size: LayerSize,
    /// `[slots]`, each the two matrices, each `[heads, CHUNK, width]`.
    halves: Vec<f16>,
    /// `[units]`, each one bit of all codes of a part of a chunk.
    units: Vec<u8>,
    /// `[chunks, heads]`, each the two matrices' lowest values and ranges, `[2, rows]`.
    scales: Vec<f16>,
    /// Oldest first; never on a higher step than those behind it.
    sealed: VecDeque<Sealed>,
    free_units: Vec<u32>,
    free_entries: Vec<u32>,
    /// The chunk whose tokens arrive.
    begun: usize,
    /// The last chunk at whose beginning something was demoted or forgotten.
    changed: usize,
}

impl RingLayer {
    fn new(size: &RingSize, attention: &AttentionSpec) -> Result<Self, Error> {
        let shape = RingShape::of(attention);
        let LayerSize { units, chunks } = size.layer(&shape);
        Ok(Self {
            shape,
            ladder: size.ladder,
            reach: size.reach,
            size: LayerSize { units, chunks },
            halves: zeros(shape.half_slots() * shape.chunk_elements())?,
            units: zeros(units * shape.unit_bytes())?,
            scales: zeros(chunks * shape.scale_elements())?,
            sealed: VecDeque::with_capacity(chunks),
            free_units: (0..units as u32).rev().collect(),
            free_entries: (0..chunks as u32).rev().collect(),
            begun: 0,
            changed: 0,
        })
    }

    /// Bytes of everything that the layer owns.
    #[cfg(test)]
    pub fn allocated_bytes(&self) -> usize {
        (self.halves.capacity() + self.scales.capacity()) * size_of::<f16>()
            + self.units.capacity()
            + self.sealed.capacity() * size_of::<Sealed>()
            + (self.free_units.capacity() + self.free_entries.capacity()) * size_of::<u32>()
    }

    /// What the layer keeps of a chunk.
    pub const fn shape(&self) -> &RingShape {
        &self.shape
    }

    /// How far behind the query the first chunk's keys are moved for tokens of this chunk, so that no distance exceeds the
    /// reach.
    pub const fn shift(&self, chunk: usize) -> usize {
        ((chunk + 1) * CHUNK).saturating_sub(self.reach)
    }

    /// The chunks that tokens of the open one may see, in the order of the text, the open one last.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let first = (self.shape.has_sink() && self.begun > 0).then_some(Part::Halves { chunk: 0 });
        first.into_iter().chain(self.sealed.iter().map(Part::Codes)).chain([Part::Halves { chunk: self.begun }])
    }

    /// The chunk that is open.
    pub fn begun(&self) -> usize {
        self.begun
    }

    /// The chunks in codes, oldest first.
    pub fn sealed(&self) -> impl Iterator<Item = &Sealed> {
        self.sealed.iter()
    }

    /// `[CHUNK, width]`: a head's keys (`matrix` 0) or values (1) of a chunk in half floats.
    pub fn halves(&self, chunk: usize, matrix: usize, head: usize) -> &[f16] {
        &self.halves[self.half_span(chunk, matrix, head)]
    }

    fn half_span(&self, chunk: usize, matrix: usize, head: usize) -> Range<usize> {
        let slot = if chunk == 0 { 0 } else { self.shape.half_slots() - 1 };
        let [first, second] = self.shape.matrices.map(|matrix| matrix.width * CHUNK);
        let before = slot * self.shape.chunk_elements() + if matrix == 0 { 0 } else { self.shape.heads * first };
        let elements = if matrix == 0 { first } else { second };
        before + head * elements..before + (head + 1) * elements
    }

    /// A group of a sealed chunk's codes from row `first` on, with the rows' lowest values and ranges.
    pub fn codes(
        &self,
        sealed: &Sealed,
        matrix: usize,
        head: usize,
        (first, rows): (usize, usize),
    ) -> (CodeGroup<'_>, &[f16], &[f16]) {
        let shape = self.shape.matrices[matrix];
        let mut units: [&[u8]; UNITS_MAX] = [&[]; UNITS_MAX];
        let numbers = sealed.units(self.shape.part(matrix));
        for (unit, &number) in units.iter_mut().zip(numbers) {
            *unit = &self.units[self.unit_span(number, matrix, head, first, rows)];
        }
        let [lowest, ranges] = self.scale_spans(sealed.entry, matrix, head, first, rows);
        let group = CodeGroup { bits: numbers.len() as u32, rows, columns: shape.columns(), units };
        (group, &self.scales[lowest], &self.scales[ranges])
    }

    fn unit_span(&self, number: u32, matrix: usize, head: usize, first: usize, rows: usize) -> Range<usize> {
        let columns = self.shape.matrices[matrix].columns();
        let start = number as usize * self.shape.unit_bytes()
            + self.shape.unit_start(matrix, head)
            + CodeGroup::unit_bytes(first, columns);
        start..start + CodeGroup::unit_bytes(rows, columns)
    }

    fn scale_spans(&self, entry: u32, matrix: usize, head: usize, first: usize, rows: usize) -> [Range<usize>; 2] {
        let [keys, values] = self.shape.matrices.map(Matrix::rows);
        let head_start = entry as usize * self.shape.scale_elements() + head * (keys + values) * 2;
        let start = head_start + if matrix == 0 { 0 } else { keys * 2 };
        let all = self.shape.matrices[matrix].rows();
        [start + first..start + first + rows, start + all + first..start + all + first + rows]
    }

    /// Keeps one token of the open chunk: `values` are `[heads, width]` of both matrices. Those that have a scale of their own
    /// are rotated, here and for good: what is gathered of them has to be rotated back.
    pub fn store(&mut self, position: usize, values: [&mut [f32]; 2]) {
        assert_eq!(position / CHUNK, self.begun, "a token of the open chunk");
        let at = position % CHUNK;
        for (matrix, values) in values.into_iter().enumerate() {
            let Matrix { width, scaled } = self.shape.matrices[matrix];
            for (head, values) in values.chunks_exact_mut(width).enumerate() {
                if scaled == Scaled::Token {
                    hadamard(values);
                }
                let start = self.half_span(self.begun, matrix, head).start + at * width;
                for (half, value) in self.halves[start..start + width].iter_mut().zip(values) {
                    *half = f16::from_f32(*value);
                }
            }
        }
    }

    /// Begins a chunk, if it has not begun: what left the window is forgotten and the chunk before is sealed, with the bits
    /// that the ladder, or at its price the layer's policy, gives it. `codes` is a buffer of [`Ring::codes_max`].
    pub fn begin(&mut self, chunk: usize, policy: Option<&LayerPolicy>, codes: &mut [u8]) {
        if chunk == self.begun {
            return;
        }
        assert_eq!(chunk, self.begun + 1, "chunks begin one after another");
        let oldest_kept = match self.shape.window {
            // The first chunk stands before all others, within the reach.
            0 => (chunk + 2).saturating_sub(self.reach / CHUNK),
            window => (chunk * CHUNK + 1).saturating_sub(window) / CHUNK,
        };
        while self.sealed.front().is_some_and(|oldest| (oldest.chunk as usize) < oldest_kept) {
            self.forget_oldest(chunk);
        }
        if self.begun > 0 || !self.shape.has_sink() {
            self.seal(chunk, policy, codes);
        }
        self.begun = chunk;
    }

    /// Seals the open chunk when `next` begins.
    fn seal(&mut self, next: usize, policy: Option<&LayerPolicy>, codes: &mut [u8]) {
        let mut sealed = Sealed { chunk: self.begun as u32, levels: self.levels(policy), ..Sealed::default() };
        let wanted = sealed.level().units(self.shape.parts());
        while self.free_units.len() < wanted || self.free_entries.is_empty() {
            self.make_room(next, wanted);
        }
        self.take_room(&mut sealed);
        for matrix in 0..self.shape.matrices.len() {
            for head in 0..self.shape.heads {
                self.seal_matrix(&sealed, matrix, head, codes);
            }
        }
        self.sealed.push_back(sealed);
    }

    /// The open chunk's bits at every step.
    fn levels(&self, policy: Option<&LayerPolicy>) -> [Level; STEPS_MAX] {
        let mut told: Option<Costs> = None;
        let mut levels = [Level::default(); STEPS_MAX];
        for (level, step) in levels.iter_mut().zip(self.ladder.steps()) {
            *level = match step {
                Step::Fixed(level) => *level,
                Step::Learned(price) => {
                    let policy = policy.expect("a ladder of prices comes from a policy");
                    let costs = told.get_or_insert_with(|| {
                        let width = self.shape.matrices[0].width;
                        let first = self.half_span(self.begun, 0, 0).start;
                        let keys = &self.halves[first..first + self.shape.heads * CHUNK * width];
                        costs(policy, keys, width, self.shape.turned)
                    });
                    Level(choose(costs, *price, self.shape.elements()))
                }
            };
        }
        levels
    }

    /// Gives a chunk an entry and the units of its level.
    fn take_room(&mut self, sealed: &mut Sealed) {
        let level = sealed.level();
        sealed.entry = self.free_entries.pop().expect("there is room");
        for (units, bits) in sealed.units.iter_mut().zip(level.0).take(self.shape.parts()) {
            for unit in &mut units[..bits as usize] {
                *unit = self.free_units.pop().expect("there is room");
            }
        }
    }

    fn seal_matrix(&mut self, sealed: &Sealed, matrix: usize, head: usize, codes: &mut [u8]) {
        let (shape, numbers) = (self.shape.matrices[matrix], sealed.units(self.shape.part(matrix)));
        let halves = self.half_span(self.begun, matrix, head);
        for (first, rows) in shape.groups() {
            let codes = &mut codes[..rows * shape.columns()];
            let spans = self.scale_spans(sealed.entry, matrix, head, first, rows);
            let [lowest, ranges] = self.scales.get_disjoint_mut(spans).expect("they do not overlap");
            quantize(shape, &self.halves[halves.clone()], first, lowest, ranges, codes);
            for (unit, &number) in numbers.iter().enumerate() {
                let span = self.unit_span(number, matrix, head, first, rows);
                pack_unit(unit, rows, codes, &mut self.units[span]);
            }
        }
    }

    /// Takes a step towards room for another chunk of so many units: a demotion, or the end of the oldest chunk.
    fn make_room(&mut self, next: usize, wanted: usize) {
        let parts = self.shape.parts();
        let used = |step: usize| {
            let held = self.sealed.iter().filter(|sealed| sealed.step as usize == step);
            held.map(|sealed| sealed.level().units(parts)).sum::<usize>() + if step == 0 { wanted } else { 0 }
        };
        let over = self.ladder.over_share(self.size.units, used);
        let below = over.map(|step| step + 1).filter(|&step| step < self.ladder.steps().len());
        let oldest = below.and_then(|below| self.sealed.iter_mut().find(|sealed| sealed.step as usize + 1 == below));
        match oldest {
            // A chunk without units to give back does not help where entries are short.
            Some(oldest) if !self.free_entries.is_empty() => {
                let before = oldest.level();
                oldest.step += 1;
                let after = oldest.level();
                for ((units, before), after) in oldest.units.iter().zip(before.0).zip(after.0).take(parts) {
                    self.free_units.extend_from_slice(&units[after as usize..before as usize]);
                }
                self.changed = next;
            }
            _ => self.forget_oldest(next),
        }
    }

    fn forget_oldest(&mut self, next: usize) {
        let oldest = self.sealed.pop_front().expect("what takes room is there");
        self.give_back(&oldest);
        self.changed = next;
    }

    fn give_back(&mut self, sealed: &Sealed) {
        for part in 0..self.shape.parts() {
            self.free_units.extend_from_slice(sealed.units(part));
        }
        self.free_entries.push(sealed.entry);
    }

    /// Forgets this chunk and all behind it. It counts as begun.
    fn forget_from(&mut self, chunk: usize) {
        while let Some(newest) = self.sealed.pop_back_if(|newest| newest.chunk as usize >= chunk) {
            self.give_back(&newest);
        }
        if chunk == 0 {
            self.changed = 0;
        }
        self.begun = chunk;
    }
}

#[cfg(test)]
mod tests;
