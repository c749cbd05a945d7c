//! A checkpoint into a blob: the layout is decided first, then tensor after tensor is read, encoded
//! and written.

#[cfg(feature = "calibrate")]
mod calibrated;
#[cfg(feature = "calibrate")]
mod calibrated_options;
#[cfg(feature = "calibrate")]
mod claim;
#[cfg(feature = "calibrate")]
mod composition;
mod draft;
mod error;
mod kinds;
#[cfg(feature = "calibrate")]
mod kv;
mod options;
mod partial_file;
mod plan;
mod precision;
mod provenance;
#[cfg(feature = "calibrate")]
mod refine;
#[cfg(feature = "calibrate")]
mod round;
mod text;
mod uniform;
mod write;

#[cfg(feature = "calibrate")]
pub use calibrated::bake_calibrated;
#[cfg(feature = "calibrate")]
pub use calibrated_options::{CalibrateOptions, CalibratedBake, PartBytes, Refined, Stage, Step};
pub use error::BakeError;
pub use options::{BakeOptions, Baked, BrokenChat, Choices, Progress, Review, TextSource};
pub use plan::BakePlan;
pub use precision::Precision;
pub use provenance::{Allocated, Factor, HeldOut, KvAbout, RouterBond};
pub use text::text_sections;
pub use uniform::bake;
