//! Bakes a checkpoint into a blob.
#![forbid(unsafe_code)]

pub mod allocate;
pub mod bake;
mod bridge;
#[cfg(feature = "calibrate")]
pub mod calibrate;
pub mod quantize;
pub mod source;
pub mod vocabulary;

pub use bake::{BakeError, BakeOptions, Baked, CalibrationText, Precision, bake};
