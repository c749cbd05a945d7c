//! Places in a device's memory.

/// A place in a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub(crate) u64);

impl Address {
    /// `bytes` further on.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0.checked_add(bytes).expect("inside an allocation"))
    }
}
