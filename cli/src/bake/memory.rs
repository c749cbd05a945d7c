//! How much memory a bake may take, and what it says of it.

use hardtack::memory::{Room, available};
use hardtack_converter::{BakeError, BakePlan};

use crate::args::MemoryArgument;
use crate::output::note;
use crate::size::show_bytes;

/// A bake's limit, and whose it is.
pub struct Limit {
    bytes: Option<u64>,
    room: Option<Room>,
}

impl Limit {
    /// What the flag says; without it, what the system would give.
    pub fn of(argument: Option<MemoryArgument>) -> Self {
        match argument {
            Some(MemoryArgument::Bytes(bytes)) => Self { bytes: Some(bytes), room: None },
            Some(MemoryArgument::None) => Self { bytes: None, room: None },
            None => {
                let room = available();
                Self { bytes: room.map(|room| room.bytes), room }
            }
        }
    }

    /// Bytes at most.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Says whose limit a bake does not keep to, and how to go on.
    pub fn explain(&self, error: BakeError) -> anyhow::Error {
        match (&error, self.room) {
            (BakeError::Memory { .. }, Some(room)) => {
                anyhow::anyhow!(
                    "{error}; that is all {} has left, and --memory none goes on all the same",
                    room.bound
                )
            }
            _ => error.into(),
        }
    }
}

/// Says what a bake took at most, stage by stage.
pub fn tell(plan: &BakePlan) {
    let stages: Vec<String> =
        plan.stages().map(|(name, bytes)| format!("{name} {}", show_bytes(bytes))).collect();
    note(format_args!(
        "[memory: at most {}; process {}, headers {}, and one after another {}]",
        show_bytes(plan.peak_bytes()),
        show_bytes(plan.process_bytes),
        show_bytes(plan.header_bytes),
        stages.join(", ")
    ));
}
