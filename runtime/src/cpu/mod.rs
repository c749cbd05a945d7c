//! The processor: kernels, threads, and the network on them.

pub mod buffer;
pub mod forward;
pub mod inputs;
pub mod multiply;
#[allow(unsafe_code, reason = "threads work on what their caller borrowed")]
pub mod pool;
pub mod results;
pub mod rows;
pub mod session;
pub mod tiers;
