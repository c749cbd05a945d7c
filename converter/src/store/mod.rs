//! Tensors that were encoded ahead of the blob, in a scratch file: quantized matrices and tuned
//! routers, one record each.
//!
//! A bake that was stopped goes on with what the file holds: every record carries a hash of its
//! head and its bytes, and whatever is cut off or damaged after the last good one is dropped. The
//! file is bound by a fingerprint to what it was made from. It is locked while it is open, and what
//! is read from it is held to the hashes of what was put there: two bakes that share a file would
//! otherwise make a blob of both.

mod blocks;
mod error;
mod record;
mod scratch;
mod shape;

pub use error::StoreError;
pub use scratch::Store;
pub use shape::{Key, Shape};
