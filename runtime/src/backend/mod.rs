//! Where a network's operations run.

pub mod cpu;
pub mod inputs;
#[allow(unsafe_code, reason = "threads work on what their caller borrowed")]
pub mod pool;
pub mod results;
pub mod rows;
pub mod tiers;
