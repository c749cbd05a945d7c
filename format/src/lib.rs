//! The `.tack` blob: its spec (`SPEC.md`), a reader that validates everything, and the writer
//! beside it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod blob;
mod bond;
mod cursor;
pub mod encoding;
pub mod error;
pub mod kv_policy;
pub mod layout;
pub mod limits;
pub mod network;
pub mod records;
pub mod role;
pub mod slots;
pub mod sniff;
pub mod spec;
mod spec_bytes;
mod tensors;
pub mod vocabulary;

pub use blob::{Blob, Index, TensorRef};
pub use bond::router_bonds;
pub use encoding::Encoding;
pub use error::FormatError;
pub use kv_policy::KvPolicy;
pub use layout::{Layout, SectionPlan, TensorPlan};
pub use network::Network;
pub use role::{Role, SectionKey, SectionKind};
pub use sniff::{FileKind, SNIFF_BYTES, sniff};
pub use spec::ModelSpec;
