//! Parameters of a kernel as the bytes of its one structure.

use crate::address::Address;

/// The bytes of a structure of C, built field by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    bytes: Vec<u8>,
}

impl Params {
    /// No field yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An address.
    #[must_use]
    pub fn address(mut self, value: Address) -> Self {
        self.align(8);
        self.bytes.extend(value.0.to_le_bytes());
        self
    }

    /// An address, or none.
    #[must_use]
    pub fn optional(self, value: Option<Address>) -> Self {
        self.address(value.unwrap_or(Address(0)))
    }

    /// A number.
    #[must_use]
    pub fn u32(mut self, value: u32) -> Self {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
        self
    }

    /// A float.
    #[must_use]
    pub fn f32(mut self, value: f32) -> Self {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
        self
    }

    /// A structure inside this one.
    #[must_use]
    pub fn inner(mut self, inner: Self) -> Self {
        self.align(8);
        self.bytes.extend(inner.into_bytes());
        self
    }

    /// The whole structure, padded as one with an address in it is.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.align(8);
        self.bytes
    }

    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }
}
