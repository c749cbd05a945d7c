//! What a tensor of the store is called, and how it is kept.

use hardtack_format::{Encoding, Role, SectionKey};

/// The section and the role of a tensor.
pub type Key = (SectionKey, Role);

/// How a tensor is kept: `stack` matrices of `rows` by `columns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its encoding.
    pub encoding: Encoding,
    /// Equal matrices one after another.
    pub stack: u32,
    /// Rows of each.
    pub rows: u32,
    /// Columns of each.
    pub columns: u32,
}

impl Shape {
    /// Bytes of a tensor of this shape; none if they are beyond what the format allows.
    pub fn bytes(self) -> Option<u64> {
        self.encoding.tensor_bytes(self.stack, self.rows, self.columns)
    }
}
