//! A ring's content on its way into a file or out of it, in one order for both.
//!
//! Where codes lie in the arena is not kept: a chunk that is read takes units as a chunk that is
//! sealed does.

use hardtack_format::kv_policy::BITS;

use super::{Chunks, Sealed};
use crate::cache::ladder::{Level, STEPS_MAX, Step};
use crate::cache::shape::CHUNK;
use crate::error::Error;
use crate::saved::Pipe;

/// Bytes of a layer that pass at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// All half floats.
    Halves,
    /// Lowest values and ranges at an entry.
    Scales(usize),
    /// One unit of codes.
    Unit(usize),
}

/// Passes the chunks of all layers after `position` tokens: `pass(pipe, index, layer, open chunk)`
/// passes one.
///
/// # Errors
/// The file cannot be written, or what is read is nothing that a ring can hold.
pub fn pass_all<P: Pipe, L: AsRef<Chunks>>(
    pipe: &mut P,
    position: usize,
    layers: &mut [L],
    mut pass: impl FnMut(&mut P, usize, &mut L, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let begun = layers.first().map_or(0, |layer| layer.as_ref().begun) as u64;
    // Between two chunks either of them may be the open one.
    let (least, most) = (position.saturating_sub(1) / CHUNK, position / CHUNK);
    let begun = pipe.number("open chunk", begun, least as u64..=most as u64)? as usize;
    layers.iter_mut().enumerate().try_for_each(|(index, layer)| pass(pipe, index, layer, begun))
}

impl Chunks {
    /// Passes one layer; `bytes` passes its bytes.
    ///
    /// # Errors
    /// As [`pass_all`].
    pub fn pass<P: Pipe>(
        &mut self,
        pipe: &mut P,
        begun: usize,
        mut bytes: impl FnMut(&mut P, Span) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let changed = pipe.number("last change", self.changed as u64, 0..=begun as u64)? as usize;
        let count =
            pipe.number("sealed chunks", self.sealed.len() as u64, 0..=self.size.chunks as u64)?
                as usize;
        if P::READS {
            self.forget_from(0);
        }
        bytes(pipe, Span::Halves)?;
        // A layer that keeps the first chunk never seals it; and no later chunk is on a lower step.
        let (mut first, mut step_max) =
            (u64::from(self.shape.has_sink()), self.ladder.steps().len() as u64 - 1);
        for index in 0..count {
            let held = self.sealed.get(index).copied().unwrap_or_default();
            let last = (begun as u64).saturating_sub((count - index) as u64);
            let chunk = pipe.number("chunk", held.chunk.into(), first..=last)?;
            let step = pipe.number("step", held.step.into(), 0..=step_max)?;
            (first, step_max) = (chunk + 1, step);
            let levels = self.pass_levels(pipe, &held.levels)?;
            let mut sealed = Sealed { chunk: chunk as u32, step: step as u32, levels, ..held };
            if P::READS {
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

    /// A chunk's bits at every step: those of the ladder, or what a policy may have said.
    fn pass_levels<P: Pipe>(
        &self,
        pipe: &mut P,
        held: &[Level; STEPS_MAX],
    ) -> Result<[Level; STEPS_MAX], Error> {
        let mut levels = [Level::default(); STEPS_MAX];
        let mut above = Level::MOST;
        for (index, step) in self.ladder.steps().iter().enumerate() {
            for part in 0..self.shape.parts() {
                let bounds = match step {
                    Step::Fixed(level) => level.0[part]..=level.0[part],
                    Step::Learned(_) => BITS[0]..=above.0[part],
                };
                let bounds = u64::from(*bounds.start())..=u64::from(*bounds.end());
                let bits = pipe.number("bits", held[index].0[part].into(), bounds)? as u32;
                if !BITS.contains(&bits) {
                    return Err(pipe.refuse("bits", format!("one of {BITS:?}"), bits.to_string()));
                }
                levels[index].0[part] = bits;
            }
            if let Step::Fixed(level) = step {
                levels[index] = *level;
            }
            above = levels[index];
        }
        Ok(levels)
    }

    /// Room for a chunk that is read.
    fn take(&mut self, pipe: &impl Pipe, sealed: &mut Sealed) -> Result<(), Error> {
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
