//! What a calibration finds, in memory and on disk.

mod costs;
mod file;
mod names;

pub use costs::{
    DomainHeader, DomainTable, ExpertTable, Header, LayerHeader, LayerTable, Starved, Tables,
};
pub(super) use file::{State, read_state, write_state};
pub use file::{read, write};
