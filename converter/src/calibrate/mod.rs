//! What a network's weights are worth on given text: a differentiable forward pass, and from it the
//! tables that bits are allocated by.

mod adam;
mod compress;
mod error;
pub mod graph;
pub mod kv;
mod memory;
mod model;
mod sample;
mod statistics;
pub mod tables;
mod text;

pub use compress::compress;
pub use error::CalibrateError;
pub use memory::{compress_bytes, peak_bytes};
pub use model::{Model, Router};
pub use sample::{Sample, Sampler, Sampling};
pub use statistics::{
    Accumulate, Consumer, Judge, Judged, NoConsumer, Phase, Place, Progress, RouterGradient,
    Settings, Stream, Tile, TuneSettings, block_costs, calibrate, calibrate_once, default_options,
    kv_chunks, router_gradients, squared_change, state_path, tune_routers,
};
pub use tables::Tables;
pub use text::Domain;
pub(crate) use text::check as check_texts;
