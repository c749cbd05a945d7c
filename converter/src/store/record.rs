//! Records of the scratch file, little-endian:
//!
//! ```text
//! file     magic [8], fingerprint [32], records
//! record   kind u16, role u16, encoding u16, zero u16, layer u32, expert u32, stack u32, rows u32,
//!          columns u32,
//!          zero u32, bytes u64, hash [32], the bytes
//! ```
//!
//! A record's hash is BLAKE3 over the 40 bytes before it and the bytes after it.

use hardtack_format::limits::{DIMENSION_MAX, EXPERTS_MAX, LAYERS_MAX, STACK_MAX};
use hardtack_format::{Encoding, Role, SectionKey, SectionKind};

use super::shape::{Key, Shape};

/// First bytes of the file, the last of them the version.
pub const MAGIC: [u8; 8] = *b"\x89TACKST2";
/// Of the version before, whose records had no hash of their heads: such a file is ours and starts
/// anew.
const MAGIC_BEFORE: [u8; 8] = *b"\x89TACKST\n";
/// Bytes before the first record.
pub const HEAD_BYTES: usize = 40;
/// Bytes of a record before its tensor's.
pub const RECORD_BYTES: usize = 72;
/// Bytes of a record before its hash.
const NAMED_BYTES: usize = 40;

/// The file before its first record.
pub fn file_head(fingerprint: [u8; 32]) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..MAGIC.len()].copy_from_slice(&MAGIC);
    head[MAGIC.len()..].copy_from_slice(&fingerprint);
    head
}

/// Whether a file that begins so is a scratch file of any version.
pub fn is_scratch(head: &[u8]) -> bool {
    head.starts_with(&MAGIC) || head.starts_with(&MAGIC_BEFORE)
}

/// A record without its tensor's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whose it is.
    pub key: Key,
    /// How it is kept.
    pub shape: Shape,
    /// Bytes that follow.
    pub bytes: u64,
    /// The BLAKE3 hash of [`Head::named`] and the bytes.
    pub hash: [u8; 32],
}

impl Head {
    /// The record.
    pub fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..NAMED_BYTES].copy_from_slice(&self.named());
        bytes[NAMED_BYTES..].copy_from_slice(&self.hash);
        bytes
    }

    /// The record before its hash: whose the tensor is, and how it is kept.
    pub fn named(self) -> [u8; NAMED_BYTES] {
        let (SectionKey { kind, layer, expert }, role) = self.key;
        let Shape { encoding, stack, rows, columns } = self.shape;
        let mut bytes = [0; NAMED_BYTES];
        for (at, number) in [(0, kind as u16), (2, role as u16), (4, encoding as u16)] {
            bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
        }
        for (at, number) in [(8, layer), (12, expert), (16, stack), (20, rows), (24, columns)] {
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        bytes[32..].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    /// A record that a tensor can follow; none if it says what cannot be.
    pub fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let key = SectionKey {
            kind: SectionKind::from_number(short(0))?,
            layer: word(8),
            expert: word(12),
        };
        let shape = Shape {
            encoding: Encoding::from_number(short(4))?,
            stack: word(16),
            rows: word(20),
            columns: word(24),
        };
        let is_within = key.layer < LAYERS_MAX
            && key.expert < EXPERTS_MAX
            && (1..=STACK_MAX).contains(&shape.stack)
            && (1..=DIMENSION_MAX).contains(&shape.rows)
            && (1..=DIMENSION_MAX).contains(&shape.columns);
        let length = u64::from(word(32)) | u64::from(word(36)) << 32;
        if !is_within || shape.bytes() != Some(length) {
            return None;
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[NAMED_BYTES..]);
        Some(Self { key: (key, Role::from_number(short(2))?), shape, bytes: length, hash })
    }
}
