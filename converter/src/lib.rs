//! Bakes a checkpoint into a blob.
#![forbid(unsafe_code)]

pub mod allocation;
mod assignment;
pub mod bake;
mod bridge;
#[cfg(feature = "calibrate")]
pub mod calibrate;
mod files;
pub mod knapsack;
pub mod quantize;
mod recipe;
pub mod source;
pub mod store;
pub mod vocabulary;

pub use assignment::{Assignment, LayerAssignment, Part};
pub use bake::{
    BakeError, BakeOptions, BakePlan, Baked, BrokenChat, Choices, Precision, Review, TextSource,
    bake,
};
#[cfg(feature = "calibrate")]
pub use bake::{CalibrateOptions, CalibratedBake, bake_calibrated};
pub use hardtack_models::{LeftOut, Unused};
pub use recipe::CheckpointError;
pub use source::CalibrationText;
