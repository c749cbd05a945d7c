//! The portable tier: vectors by `wide`, on every processor.

use crate::scalar;
use crate::table::KernelTable;

/// The portable tier.
pub static TABLE: KernelTable = KernelTable { name: "portable", ..scalar::TABLE };
