//! A ring's content on its way into a file or out of it, in one order for both.
//!
//! Where codes lie in the arena is not kept: a chunk that is read takes units as a chunk that is sealed does.

use bytemuck::cast_slice_mut;
use half::slice::HalfFloatSliceExt;

use super::{Ring, RingLayer, Sealed};
use crate::error::Error;
use crate::kv::shape::CHUNK;
use crate::saved::Pipe;

impl Ring {
    /// Passes everything after `position` tokens.
    ///
    /// # Errors
    /// The file cannot be written, or what is read is nothing that a ring can hold.
    pub fn pass(&mut self, pipe: &mut impl Pipe, position: usize) -> Result<(), Error> {
        let begun = self.layers.first().map_or(0, |layer| layer.begun) as u64;
        // Between two chunks either of them may be the open one.
        let (least, most) = (position.saturating_sub(1) / CHUNK, position / CHUNK);
        let begun = pipe.number("open chunk", begun, least as u64..=most as u64)? as usize;
        self.layers.iter_mut().try_for_each(|layer| layer.pass(pipe, begun))
    }
}

impl RingLayer {
    fn pass<P: Pipe>(&mut self, pipe: &mut P, begun: usize) -> Result<(), Error> {
        let changed = pipe.number("last change", self.changed as u64, 0..=begun as u64)? as usize;
        let count = pipe.number("sealed chunks", self.sealed.len() as u64, 0..=self.size.chunks as u64)? as usize;
        if P::READS {
            self.forget_from(0);
        }
        pipe.bytes(cast_slice_mut(self.halves.reinterpret_cast_mut()))?;
        // A layer that keeps the first chunk never seals it; and no later chunk is less precise.
        let (mut first, mut least_bits) = (u64::from(self.shape.has_sink()), 0);
        for index in 0..count {
            let held = self.sealed.get(index).copied().unwrap_or_default();
            let last = (begun as u64).saturating_sub((count - index) as u64);
            let chunk = pipe.number("chunk", held.chunk.into(), first..=last)?;
            let most_bits = u64::from(self.ladder.first());
            let bits = pipe.number("bits", held.bits.into(), least_bits..=most_bits)?;
            (first, least_bits) = (chunk + 1, bits);
            let sealed = if P::READS { self.take(pipe, chunk as u32, bits as u32)? } else { held };
            let scales = sealed.entry as usize * self.shape.scale_elements();
            let scales = &mut self.scales[scales..scales + self.shape.scale_elements()];
            pipe.bytes(cast_slice_mut(scales.reinterpret_cast_mut()))?;
            for &unit in &sealed.units[..sealed.bits as usize] {
                let bytes = self.shape.unit_bytes();
                pipe.bytes(&mut self.units[unit as usize * bytes..(unit as usize + 1) * bytes])?;
            }
        }
        (self.begun, self.changed) = (begun, changed);
        Ok(())
    }

    /// Room for a chunk that is read.
    fn take(&mut self, pipe: &impl Pipe, chunk: u32, bits: u32) -> Result<Sealed, Error> {
        if !self.ladder.steps().contains(&bits) {
            return Err(pipe.refuse("bits", format!("one of {:?}", self.ladder.steps()), bits.to_string()));
        }
        if self.free_units.len() < bits as usize || self.free_entries.is_empty() {
            let room = format!("at most {} bits", self.free_units.len());
            return Err(pipe.refuse("bits", room, bits.to_string()));
        }
        let mut sealed = Sealed { chunk, bits, ..Sealed::default() };
        sealed.entry = self.free_entries.pop().expect("checked above");
        for unit in &mut sealed.units[..bits as usize] {
            *unit = self.free_units.pop().expect("checked above");
        }
        self.sealed.push_back(sealed);
        Ok(sealed)
    }
}
