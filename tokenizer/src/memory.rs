//! What reading a file takes at its peak, from what it holds: most of it is the library's, while it
//! parses.

use crate::survey::{ModelKind, Survey};

/// Bytes for each byte of the file, by kind of model.
const BPE_FACTOR: u64 = 34;
const UNIGRAM_FACTOR: u64 = 80;
const WORD_FACTOR: u64 = 34;
/// Bytes of a compiled character class.
const CLASS_BYTES: u64 = 64 << 10;

impl Survey {
    /// Bytes that a tokenizer takes at most while its file is read, and afterwards.
    pub const fn memory_bytes(&self) -> u64 {
        let factor = match self.model {
            ModelKind::Bpe => BPE_FACTOR,
            ModelKind::Unigram => UNIGRAM_FACTOR,
            ModelKind::WordPiece | ModelKind::WordLevel => WORD_FACTOR,
        };
        self.bytes as u64 * factor + self.classes as u64 * CLASS_BYTES
    }
}
