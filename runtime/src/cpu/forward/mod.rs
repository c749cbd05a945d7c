//! The network's blocks on the processor, each with its own scratch. `cpu/session.rs` runs them one
//! after another.

mod attend;
pub mod attention;
pub mod batch;
mod cached;
mod codes;
pub mod feed_forward;
pub mod latent;
mod rope;
mod router;
pub mod scratch;
mod shared;
mod softmax;
