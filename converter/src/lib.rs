//! Bakes a checkpoint into a blob.

pub mod source;
