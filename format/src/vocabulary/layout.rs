//! Numbers of the table's layout, and its limits.

/// First four bytes of the section.
pub const MAGIC: u32 = u32::from_le_bytes(*b"TVOC");
/// The version this file reads and writes.
pub const VERSION: u32 = 1;
/// Most tokens in a table.
pub const COUNT_MAX: u32 = crate::limits::VOCABULARY_MAX;
/// Most bytes of one token.
pub const TOKEN_BYTES_MAX: u32 = 4096;
/// Most ids that end generation.
pub const ENDS_MAX: u32 = 64;
/// Most bytes of all tokens together.
pub const BLOB_BYTES_MAX: u32 = 128 << 20;

/// Bytes of the fixed fields.
pub(super) const HEADER_BYTES: usize = 32;
/// No token.
pub(super) const NONE: u32 = u32::MAX;
// The flags.
pub(super) const ADD_BEGIN: u32 = 1;
pub(super) const ADD_END: u32 = 2;
pub(super) const STRIP_LEADING_SPACE: u32 = 4;
pub(super) const FLAGS_KNOWN: u32 = ADD_BEGIN | ADD_END | STRIP_LEADING_SPACE;

// The whole table stays within the 256 MiB that a plain section may take, and no size overflows 32
// bits.
const _: () = assert!(
    HEADER_BYTES as u64
        + ENDS_MAX as u64 * 4
        + (COUNT_MAX as u64 + 1) * 4
        + COUNT_MAX as u64
        + BLOB_BYTES_MAX as u64
        <= 256 << 20
);
const _: () = assert!(COUNT_MAX < NONE);
