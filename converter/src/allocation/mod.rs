//! From costs to encodings: every expert, attention, common block and the embeddings are items of
//! one knapsack.

#[cfg(feature = "calibrate")]
mod allocate;
#[cfg(feature = "calibrate")]
mod costs;
#[cfg(feature = "calibrate")]
mod items;
#[cfg(feature = "calibrate")]
mod sizes;
mod target;

#[cfg(feature = "calibrate")]
pub use allocate::{Allocation, Factors, allocate, group_costs};
#[cfg(feature = "calibrate")]
pub(crate) use sizes::{assigned_bytes, part_bytes};
pub use target::{Method, STARVED_TOKENS, Target, Wanted};
