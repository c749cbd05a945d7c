//! A ring's content on its way into a file or out of it, in one order for both.
//!
//! Where codes are in the arena is not kept: a chunk that is read takes units as a chunk that is
//! sealed does.

use hardtack_format::kv_policy::BITS;

use super::{Chunks, HoldsChunks};
use crate::cache::ladder::{Level, RUNGS_MAX, Rung};
use crate::cache::sealed::Sealed;
use crate::cache::shape::CHUNK;
use crate::error::Error;
use crate::pipe::Pipe;

/// Bytes of a layer that are written or read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// All f16 of exact chunks.
    Exact,
    /// Lowest values and ranges at an entry.
    Scales(usize),
    /// One unit of codes.
    Unit(usize),
}

/// Writes or reads all layers after `position` tokens: `serialize(pipe, index, layer, open chunk)`
/// does one. Where no layer holds chunks, none is open.
///
/// # Errors
/// The file cannot be written, or no ring can hold what is read.
pub fn serialize_all<L: HoldsChunks>(
    pipe: &mut dyn Pipe,
    position: usize,
    layers: &mut [L],
    mut serialize: impl FnMut(&mut dyn Pipe, usize, &mut L, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut open = 0;
    if let Some(chunks) = layers.first().and_then(L::chunks) {
        // Between two chunks either of them may be the open one.
        let (least, most) = (position.saturating_sub(1) / CHUNK, position / CHUNK);
        let bounds = least as u64..=most as u64;
        open = pipe.number("open chunk", chunks.begun as u64, bounds)? as usize;
    }
    layers.iter_mut().enumerate().try_for_each(|(index, layer)| serialize(pipe, index, layer, open))
}

impl Chunks {
    /// Writes or reads one layer; `bytes` does so with its bytes.
    ///
    /// # Errors
    /// As [`serialize_all`].
    pub fn serialize(
        &mut self,
        pipe: &mut dyn Pipe,
        begun: usize,
        mut bytes: impl FnMut(&mut dyn Pipe, Span) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let changed = pipe.number("last change", self.changed as u64, 0..=begun as u64)? as usize;
        let count =
            pipe.number("sealed chunks", self.sealed.len() as u64, 0..=self.size.chunks as u64)?
                as usize;
        if pipe.reads() {
            self.forget_from(0);
        }
        bytes(pipe, Span::Exact)?;
        // A layer that keeps the first chunk never seals it; and no later chunk is on a lower rung.
        let (mut first, mut rung_max) =
            (u64::from(self.shape.has_sink()), self.ladder.rungs().len() as u64 - 1);
        for index in 0..count {
            let held = self.sealed.get(index).copied().unwrap_or_default();
            let last = (begun as u64).saturating_sub((count - index) as u64);
            let chunk = pipe.number("chunk", held.chunk.into(), first..=last)?;
            let rung = pipe.number("rung", held.rung.into(), 0..=rung_max)?;
            (first, rung_max) = (chunk + 1, rung);
            let levels = self.serialize_levels(pipe, &held.levels)?;
            let mut sealed = Sealed { chunk: chunk as u32, rung: rung as u32, levels, ..held };
            if pipe.reads() {
                self.take(pipe, &mut sealed)?;
            }
            bytes(pipe, Span::Scales(sealed.entry as usize))?;
            for &unit in (0..self.shape.parts()).flat_map(|part| sealed.units(part)) {
                bytes(pipe, Span::Unit(unit as usize))?;
            }
        }
        (self.begun, self.changed) = (begun, changed);
        Ok(())
    }

    /// A chunk's bits on every rung: those of the ladder, or what a policy may have chosen.
    fn serialize_levels(
        &self,
        pipe: &mut dyn Pipe,
        held: &[Level; RUNGS_MAX],
    ) -> Result<[Level; RUNGS_MAX], Error> {
        let mut levels = [Level::default(); RUNGS_MAX];
        let mut above = Level::MOST;
        for (index, rung) in self.ladder.rungs().iter().enumerate() {
            for part in 0..self.shape.parts() {
                let bounds = match rung {
                    Rung::Fixed(level) => level.0[part]..=level.0[part],
                    Rung::Learned(_) => BITS[0]..=above.0[part],
                };
                let bounds = u64::from(*bounds.start())..=u64::from(*bounds.end());
                let bits = pipe.number("bits", held[index].0[part].into(), bounds)? as u32;
                if !BITS.contains(&bits) {
                    return Err(pipe.refuse("bits", format!("one of {BITS:?}"), bits.to_string()));
                }
                levels[index].0[part] = bits;
            }
            if let Rung::Fixed(level) = rung {
                levels[index] = *level;
            }
            above = levels[index];
        }
        Ok(levels)
    }

    /// Room for a chunk that is read.
    fn take(&mut self, pipe: &dyn Pipe, sealed: &mut Sealed) -> Result<(), Error> {
        let wanted = sealed.level().units(self.shape.parts());
        if self.free_units.len() < wanted || self.free_entries.is_empty() {
            let room = format!("at most {} units", self.free_units.len());
            return Err(pipe.refuse("bits", room, wanted.to_string()));
        }
        self.take_room(sealed);
        self.sealed.push_back(*sealed);
        Ok(())
    }
}
