//! GGUF files, versions 2 and 3: metadata, then where each tensor lies, then the tensors. A model
//! may be split over several of them.
//!
//! Layout: magic "GGUF" | version u32 | tensor count u64 | metadata count u64 | metadata | tensor
//! table | padding to the alignment | tensors. All numbers are little-endian; nothing here trusts
//! any of them.

mod head;
mod metadata;
mod model;
mod reader;
mod scales;
mod split;
mod tensors;

pub use head::{Gguf, parse_gguf};
pub use metadata::GgufMetadata;
pub(super) use model::open;
pub(super) use scales::{Scales, take as take_scales};
