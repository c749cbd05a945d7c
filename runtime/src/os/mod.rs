//! What the operating system provides. Besides this room, only `cpu/pool` has `unsafe` in the
//! runtime.

mod blob_file;

pub use blob_file::{BlobFile, Load};
