//! NVIDIA GPUs: kernels that read the blob's tiles, and the whole decode step on the device.
//!
//! `kernels/*.cu` are the kernels. [`Session`] turns a network into lists of launches of them, over anything that is a
//! [`Device`]: a GPU, or the [`Emulator`], a process on the host that runs the same sources.
#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("weights are read where they lie, and the format is little-endian");

mod cache;
pub mod device;
#[cfg(feature = "driver")]
#[allow(unsafe_code, reason = "the driver's room")]
pub mod driver;
pub mod emulator;
mod error;
pub mod kernel;
mod model;
mod params;
pub mod ring;
mod session;
mod sizes;
pub mod sources;
mod steps;

pub use device::{Address, Device, Launch, Recorded};
pub use emulator::Emulator;
pub use error::CudaError;
pub use kernel::Kernel;
pub use model::Model;
pub use params::Params;
pub use ring::{CachePart, ChunkPlace, RingLayout};
pub use session::Session;
pub use sizes::{KvElement, KvStore, SessionSizes};
