//! The only room of the runtime with `unsafe`: what the operating system gives.

mod blob_file;

pub use blob_file::{BlobFile, Load};
