//! What a network's weights are worth on given text: a differentiable forward pass, and from it the tables that bits are
//! allocated by.

mod error;
pub mod graph;
mod model;
mod statistics;
pub mod tables;
mod text;

pub use error::CalibrateError;
pub use model::Model;
pub use statistics::{
    Accumulate, Consumer, NoConsumer, Phase, Place, Progress, Settings, Tile, block_costs, calibrate, default_options,
    peak_bytes, squared_change, state_path,
};
pub use tables::Tables;
pub use text::Domain;
