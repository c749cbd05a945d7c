//! NVIDIA GPUs: kernels that read the blob's tiles, and the whole decode step on the device.
//!
//! `kernels/*.cu` are the kernels. [`Session`] turns a network into lists of launches of them, over
//! anything that is a [`Device`]: a GPU, or the [`Emulator`], a process on the host that runs the
//! same sources.
//!
//! Nothing of what is public can name an address of a device or launch a kernel, and sizes and
//! positions that do not fit are errors.
//!
//! ```compile_fail
//! use hardtack_kernels_cuda::address::Address; // private, and so is whatever takes one
//! ```
//!
//! ```compile_fail,E0599
//! fn write(device: &dyn hardtack_kernels_cuda::Device) {
//!     let _ = device.allocate("a buffer", 8); // only its name and its free memory are public
//! }
//! ```
//!
//! ```compile_fail,E0061
//! fn write(device: &dyn hardtack_kernels_cuda::Device) {
//!     let _ = device.raw(); // nobody else can make what this takes
//! }
//! ```
//!
//! ```compile_fail,E0046
//! struct Own;
//! use hardtack_kernels_cuda::{CudaError, Device, DeviceMemory};
//!
//! impl Device for Own {
//!     fn name(&self) -> String {
//!         String::new()
//!     }
//!     fn memory(&self) -> Result<DeviceMemory, CudaError> {
//!         unimplemented!()
//!     }
//! }
//! ```
#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("weights are read where they lie, and the format is little-endian");

#[cfg(not(target_pointer_width = "64"))]
compile_error!("sizes of a session are products that need 64 bits");

mod address;
mod bandwidth;
mod buffers;
mod cache;
mod device;
#[cfg(feature = "driver")]
#[allow(unsafe_code, reason = "the driver's room")]
pub mod driver;
pub mod emulator;
mod error;
mod forward;
pub mod kernel;
mod launch;
mod memory;
mod model;
mod params;
pub mod ring;
mod session;
mod sizes;
pub mod sources;
#[cfg(test)]
mod tests;
mod widths;

pub use bandwidth::copy_bandwidth;
pub use cache::{CachePart, KvElement, KvStore};
pub use device::{Device, DeviceMemory, HostBytes};
pub use emulator::Emulator;
pub use error::CudaError;
pub use kernel::Kernel;
pub use model::Model;
pub use ring::{ChunkPlace, RingLayout};
pub use session::Session;
pub use sizes::SessionSizes;
