//! The NEON tiers of the kernels, for little-endian aarch64; for other processors this crate is
//! empty.

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod aarch64;

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub use aarch64::{dotprod, i8mm, neon};
