//! What every plan of an engine is held to: the caller's limit, or what the system would give.

use hardtack_format::Network;

use super::source::Source;
use crate::error::Error;
use crate::memory::{self, SystemMemory};
use crate::options::{Options, SessionOptions};
use crate::os::Load;
use crate::plan::fixed::Fixed;
use crate::plan::{Plan, plan};

/// The limits of an engine.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    memory_max: Option<u64>,
    system_memory: SystemMemory,
    load: Load,
}

impl Limits {
    /// What the options say of a blob from here.
    pub fn of(source: &Source<'_>, options: &Options) -> Self {
        let &Options { memory_max, system_memory, load, .. } = options;
        Self { memory_max, system_memory, load: source.load(load) }
    }

    /// What other sessions leave of them.
    pub fn beside(self, taken: u64) -> Self {
        Self { memory_max: self.memory_max.map(|most| most.saturating_sub(taken)), ..self }
    }

    /// A refusal for what other sessions leave, in terms of the whole.
    pub fn counting(&self, taken: u64, error: Error) -> Error {
        match (error, self.memory_max) {
            (Error::Memory { needed, parts, advice, .. }, Some(limit)) if taken > 0 => {
                let parts = format!("{parts}, other sessions {taken}");
                Error::Memory { needed: needed.saturating_add(taken), parts, limit, advice }
            }
            (error, _) => error,
        }
    }

    /// Decides every byte of a session, within what the caller allows or the system would give.
    ///
    /// # Errors
    /// An option outside its range, or more memory than allowed or than the system would give.
    pub fn plan(
        &self,
        network: &Network,
        fixed: Fixed,
        options: &SessionOptions,
    ) -> Result<Plan, Error> {
        // A device has its own check; what it leaves to the host is little.
        let checked = self.system_memory == SystemMemory::Checked && fixed.device.is_none();
        let room = memory::available().filter(|_| self.memory_max.is_none() && checked);
        let Some(room) = room else { return plan(network, fixed, options, self.memory_max) };
        let bound = room.bound;
        let resident = fixed.resident_bytes(self.load);
        // What the process has of it already is not taken again.
        let had = memory::anonymous_bytes().min(resident);
        let paged = fixed.total_bytes() - resident;
        let limit = room.bytes.saturating_add(had).saturating_add(paged);
        plan(network, fixed, options, Some(limit)).map_err(|error| match error {
            Error::Memory { needed, parts, limit, advice } => {
                let (needed, room) = (needed - paged, limit - paged);
                Error::SystemMemory { needed, parts, room, bound, advice }
            }
            error => error,
        })
    }
}
