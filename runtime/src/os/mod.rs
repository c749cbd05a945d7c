//! What the operating system gives. Besides this room, only `backend/pool.rs` has `unsafe` in the
//! runtime.

mod blob_file;

pub use blob_file::{BlobFile, Load};
