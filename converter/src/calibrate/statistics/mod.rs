//! The statistics that bits are allocated by, one layer in memory at a time: forward through all
//! layers, the loss, then backward layer by layer. A layer's costs are taken while its gradient is
//! at hand.

pub(super) mod backward;
mod boundaries;
mod calibration;
mod cost;
mod forward;
pub(super) mod head;
mod inputs;
mod judge;
mod kv;
mod routers;
pub(super) mod rows;
mod run;
mod settings;

pub use calibration::{calibrate, calibrate_once, state_path};
pub use cost::{Tile, block_costs, squared_change};
pub(super) use forward::embed;
pub use inputs::{Accumulate, Consumer, NoConsumer, Place};
pub use judge::{Judge, Judged, Stream};
pub use kv::kv_chunks;
pub use routers::{RouterGradient, TuneSettings, router_gradients, tune_routers};
pub use settings::{Phase, Progress, Settings, default_options};
