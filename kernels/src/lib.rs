//! What a kernel must do: the table of operations, the scalar truth, the portable tier, and the
//! check that holds every tier to scalar.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod activations;
pub mod attention;
pub mod check;
pub mod hadamard;
pub mod kv_router;
pub mod math;
pub mod nested;
pub mod pack;
pub mod portable;
pub mod ring_shape;
pub mod rope;
pub mod scalar;
pub mod table;

pub use activations::{Activations, ActivationsMut};
pub use table::{KernelTable, PanelFn, PanelRows};
