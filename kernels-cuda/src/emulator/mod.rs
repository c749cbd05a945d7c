//! A device on the host: the kernels' own sources built by the host's C++ compiler, run by a
//! process of their own.
//!
//! Its results are a device's to the bit, as the kernels keep to operations that IEEE 754 rounds in
//! one way. It is thousands of times slower.

mod process;
mod watched;

pub use process::{Emulator, Order};
pub use watched::Watched;
