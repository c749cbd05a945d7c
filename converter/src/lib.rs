//! Bakes a checkpoint into a blob.
#![forbid(unsafe_code)]

pub mod allocate;
pub mod bake;
mod bridge;
#[cfg(feature = "calibrate")]
pub mod calibrate;
pub mod quantize;
pub mod source;
pub mod store;
pub mod vocabulary;

pub use bake::{
    BakeError, BakeOptions, BakePlan, Baked, BrokenChat, CalibrationText, Choices, Precision,
    Review, TextSource, bake,
};
#[cfg(feature = "calibrate")]
pub use bake::{CalibrateOptions, CalibratedBake, bake_calibrated};
pub use hardtack_models::{LeftOut, Unused};
