//! Which chunks of a text a layer's ring holds and where their bytes are, but not the bytes: they
//! may be on a device.
//!
//! Everything that changes, sealing, demotion and eviction, changes when the first token of a chunk
//! arrives. Every layer has its own units and decides by itself.

pub mod serialize;

use std::collections::VecDeque;

use hardtack_format::kv_policy::Costs;
use hardtack_kernels::kv_router::choose;

use super::ladder::{Ladder, Level, RUNGS_MAX, Rung};
use super::sealed::{Chunk, Sealed};
use super::shape::{CHUNK, PARTS_MAX, RingShape};
use super::size::{LayerSize, RingSize};
use crate::error::Error;
use crate::memory::list;

/// The chunks of one layer.
#[derive(Debug)]
pub struct Chunks {
    shape: RingShape,
    ladder: Ladder,
    reach: usize,
    size: LayerSize,
    /// Oldest first; never on a higher rung than those after them.
    sealed: VecDeque<Sealed>,
    free_units: Vec<u32>,
    free_entries: Vec<u32>,
    /// The chunk whose tokens arrive.
    begun: usize,
    /// The last chunk at whose beginning something was demoted or forgotten.
    changed: usize,
}

impl Chunks {
    /// None yet. All lists are allocated here.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn new(size: &RingSize, shape: RingShape) -> Result<Self, Error> {
        let LayerSize { units, chunks } = size.layer(&shape);
        let numbers = |count: usize| {
            let mut numbers = list(count)?;
            numbers.extend((0..count as u32).rev());
            Ok::<_, Error>(numbers)
        };
        Ok(Self {
            shape,
            ladder: size.ladder,
            reach: size.reach,
            size: LayerSize { units, chunks },
            sealed: list(chunks)?.into(),
            free_units: numbers(units)?,
            free_entries: numbers(chunks)?,
            begun: 0,
            changed: 0,
        })
    }

    /// Becomes what another session's chunks of the same layer are. The lists keep their room.
    pub fn copy_from(&mut self, other: &Self) {
        self.sealed.clone_from(&other.sealed);
        self.free_units.clone_from(&other.free_units);
        self.free_entries.clone_from(&other.free_entries);
        (self.begun, self.changed) = (other.begun, other.changed);
    }

    /// Bytes of the lists.
    #[cfg(test)]
    pub fn allocated_bytes(&self) -> usize {
        self.sealed.capacity() * size_of::<Sealed>()
            + (self.free_units.capacity() + self.free_entries.capacity()) * size_of::<u32>()
    }

    /// What the layer keeps of a chunk.
    pub const fn shape(&self) -> &RingShape {
        &self.shape
    }

    /// How many chunks and units there may be.
    #[cfg(any(test, feature = "cuda"))]
    pub const fn size(&self) -> LayerSize {
        self.size
    }

    /// Units that no chunk has.
    #[cfg(test)]
    pub fn free_units(&self) -> usize {
        self.free_units.len()
    }

    /// By how much the first chunk's keys are moved towards tokens of this chunk, so that no
    /// distance exceeds the reach.
    pub const fn shift(&self, chunk: usize) -> usize {
        ((chunk + 1) * CHUNK).saturating_sub(self.reach)
    }

    /// The chunks that tokens of the open one may see, in the order of the text, the open one last.
    pub fn seen(&self) -> impl Iterator<Item = Chunk<'_>> {
        let first = (self.shape.has_sink() && self.begun > 0).then_some(Chunk::Exact(0));
        let sealed = self.sealed.iter().map(Chunk::Sealed);
        first.into_iter().chain(sealed).chain([Chunk::Exact(self.begun)])
    }

    /// The chunk that is open.
    pub const fn begun(&self) -> usize {
        self.begun
    }

    /// The chunks in codes, oldest first.
    #[cfg(any(test, feature = "cuda"))]
    pub const fn sealed(&self) -> &VecDeque<Sealed> {
        &self.sealed
    }

    /// Whether the open chunk's keys decide its bits when this chunk begins: [`Chunks::begin`]
    /// needs their costs then.
    pub fn wants_costs(&self, chunk: usize) -> bool {
        chunk != self.begun && self.seals() && self.ladder.is_learned()
    }

    fn seals(&self) -> bool {
        self.begun > 0 || !self.shape.has_sink()
    }

    /// Begins a chunk, if it has not begun: what left the window is forgotten, and the chunk before
    /// gets a place among the sealed ones, with the ladder's bits for it, or, by what bits
    /// cost, its price. Returns that place if there is one: its bytes are the caller's to write.
    pub fn begin(&mut self, chunk: usize, costs: Option<&Costs>) -> Option<Sealed> {
        if chunk == self.begun {
            return None;
        }
        assert_eq!(chunk, self.begun + 1, "chunks begin one after another");
        let oldest_kept = match self.shape.window {
            // The first chunk is before all others, within the reach.
            0 => (chunk + 2).saturating_sub(self.reach / CHUNK),
            window => (chunk * CHUNK + 1).saturating_sub(window) / CHUNK,
        };
        while self.sealed.front().is_some_and(|oldest| (oldest.chunk as usize) < oldest_kept) {
            self.forget_oldest(chunk);
        }
        let sealed = self.seals().then(|| self.seal(chunk, costs));
        self.begun = chunk;
        sealed
    }

    /// Finds a place for the open chunk when `next` begins.
    fn seal(&mut self, next: usize, costs: Option<&Costs>) -> Sealed {
        let mut sealed =
            Sealed { chunk: self.begun as u32, levels: self.levels(costs), ..Sealed::default() };
        let wanted = sealed.level().units(self.shape.parts());
        while self.free_units.len() < wanted || self.free_entries.is_empty() {
            self.make_room(next, wanted);
        }
        self.take_room(&mut sealed);
        self.sealed.push_back(sealed);
        sealed
    }

    /// A chunk's bits on every rung.
    fn levels(&self, costs: Option<&Costs>) -> [Level; RUNGS_MAX] {
        let mut levels = [Level::default(); RUNGS_MAX];
        for (level, rung) in levels.iter_mut().zip(self.ladder.rungs()) {
            *level = match rung {
                Rung::Fixed(level) => *level,
                Rung::Learned(price) => {
                    let costs = costs.expect("a ladder of prices needs what bits cost");
                    Level(choose(costs, *price, self.shape.elements()))
                }
            };
        }
        levels
    }

    /// Takes an entry and the units of its level for a chunk.
    fn take_room(&mut self, sealed: &mut Sealed) {
        let level = sealed.level();
        sealed.entry = self.free_entries.pop().expect("there is room");
        for (units, bits) in sealed.units.iter_mut().zip(level.0).take(self.shape.parts()) {
            for unit in &mut units[..bits as usize] {
                *unit = self.free_units.pop().expect("there is room");
            }
        }
    }

    /// Makes some room for another chunk of `wanted` units: by a demotion, or the end of the oldest
    /// chunk.
    fn make_room(&mut self, next: usize, wanted: usize) {
        let parts = self.shape.parts();
        let used = |rung: usize| {
            let held = self.sealed.iter().filter(|sealed| sealed.rung as usize == rung);
            held.map(|sealed| sealed.level().units(parts)).sum::<usize>()
                + if rung == 0 { wanted } else { 0 }
        };
        let over = self.ladder.over_share(self.size.units, used);
        let below = over.map(|rung| rung + 1).filter(|&rung| rung < self.ladder.rungs().len());
        let oldest = below.and_then(|below| {
            self.sealed.iter_mut().find(|sealed| sealed.rung as usize + 1 == below)
        });
        match oldest {
            // A chunk without units to free does not help where entries are short.
            Some(oldest) if !self.free_entries.is_empty() => {
                let before = oldest.level();
                oldest.rung += 1;
                let after = oldest.level();
                for ((units, before), after) in
                    oldest.units.iter().zip(before.0).zip(after.0).take(parts)
                {
                    self.free_units.extend_from_slice(&units[after as usize..before as usize]);
                }
                self.changed = next;
            }
            _ => self.forget_oldest(next),
        }
    }

    fn forget_oldest(&mut self, next: usize) {
        let oldest = self.sealed.pop_front().expect("what takes room is there");
        self.free(&oldest);
        self.changed = next;
    }

    fn free(&mut self, sealed: &Sealed) {
        for part in 0..self.shape.parts() {
            self.free_units.extend_from_slice(sealed.units(part));
        }
        self.free_entries.push(sealed.entry);
    }

    /// Forgets this chunk and all after it. It counts as begun.
    fn forget_from(&mut self, chunk: usize) {
        while let Some(newest) = self.sealed.pop_back_if(|newest| newest.chunk as usize >= chunk) {
            self.free(&newest);
        }
        if chunk == 0 {
            self.changed = 0;
        }
        self.begun = chunk;
    }
}

/// Bits of a chunk: its layer, its index in the text, and the bits of its keys and of its values.
pub type ChunkBits = (usize, usize, [u32; PARTS_MAX]);

/// A layer's cache, which keeps chunks if it is a ring.
pub trait HoldsChunks {
    /// The chunks; none of an exact cache.
    fn chunks(&self) -> Option<&Chunks>;
    /// The chunks to be changed.
    fn chunks_mut(&mut self) -> Option<&mut Chunks>;
}

impl HoldsChunks for Chunks {
    fn chunks(&self) -> Option<&Chunks> {
        Some(self)
    }

    fn chunks_mut(&mut self) -> Option<&mut Chunks> {
        Some(self)
    }
}

/// Brings the chunks of all layers back to what they were after `position` of the `held` tokens, or
/// after fewer. Returns after how many.
pub fn truncate<L: HoldsChunks>(layers: &mut [L], held: usize, position: usize) -> usize {
    if position >= held {
        return held;
    }
    let chunk = position / CHUNK;
    let all = |of: &dyn Fn(&Chunks) -> bool| layers.iter().filter_map(L::chunks).all(of);
    // What a layer has of that time: every token, only whole chunks, or none.
    let begun = all(&|layer| layer.begun == chunk);
    let first = chunk == 0 && all(&|layer| layer.shape.has_sink());
    let whole = all(&|layer| layer.changed <= chunk);
    let (chunk, position) = match (begun || first, whole) {
        (true, _) => (chunk, position),
        (false, true) => (chunk, chunk * CHUNK),
        (false, false) => (0, 0),
    };
    layers.iter_mut().filter_map(L::chunks_mut).for_each(|layer| layer.forget_from(chunk));
    position
}

/// What the sealed chunks of all layers hold.
pub fn levels<L: HoldsChunks>(layers: &[L]) -> impl Iterator<Item = ChunkBits> {
    layers.iter().enumerate().flat_map(|(index, layer)| {
        let sealed = layer.chunks().into_iter().flat_map(|chunks| &chunks.sealed);
        sealed.map(move |sealed| (index, sealed.chunk as usize, sealed.level().0))
    })
}
