//! Where a network's operations run.

pub mod cpu;
pub mod inputs;
pub mod tiers;
