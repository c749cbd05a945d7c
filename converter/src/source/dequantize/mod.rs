//! From stored blocks to f32: one small function for each block layout, and the table that finds
//! it.

mod bytes;
mod codebooks;
mod decoder;
pub(super) mod float8;
mod iq;
mod iq4;
mod k_quants;
mod legacy;
mod mxfp4;
mod nvfp4;
mod plain;
mod ternary;

pub(super) use decoder::{Decoder, decoder};
