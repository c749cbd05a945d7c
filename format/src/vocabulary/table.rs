//! A table that is looked into.

use super::error::VocabularyTableError;
use super::header::{Header, read_u32};
use super::layout::{HEADER_BYTES, TOKEN_BYTES_MAX};
use super::token::{TextRules, TokenKind};

/// A validated table over bytes that it borrows (`&[u8]`) or owns (`Box<[u8]>`). No lookup can fail
/// or panic.
#[derive(Clone, Debug)]
pub struct Vocabulary<B> {
    bytes: B,
    rules: TextRules,
    count: u32,
    /// Where `offsets`, `kinds` and the blob begin.
    offsets_at: usize,
    kinds_at: usize,
    blob_at: usize,
}

impl<B: AsRef<[u8]>> Vocabulary<B> {
    /// Checks every rule of the table once.
    pub fn read(bytes: B) -> Result<Self, VocabularyTableError> {
        let header = Header::read(bytes.as_ref())?;
        let rules = header.rules(bytes.as_ref())?;
        let offsets_at = HEADER_BYTES + header.ends_count as usize * 4;
        let kinds_at = offsets_at + (header.count as usize + 1) * 4;
        let blob_at = kinds_at + header.count as usize;
        let table = Self { bytes, rules, count: header.count, offsets_at, kinds_at, blob_at };
        table.check_tokens(header.blob_bytes)?;
        Ok(table)
    }

    /// How many ids the table has; the ids are `0..count`.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How text begins and ends.
    pub fn rules(&self) -> &TextRules {
        &self.rules
    }

    /// The bytes of one token: for control tokens their name. Empty for an id outside the table.
    pub fn bytes(&self, id: u32) -> &[u8] {
        if id >= self.count {
            return &[];
        }
        let start = self.blob_at + self.offset(id) as usize;
        let end = self.blob_at + self.offset(id + 1) as usize;
        self.bytes.as_ref().get(start..end).unwrap_or_default()
    }

    /// What a token is for. `Unused` for an id outside the table.
    pub fn kind(&self, id: u32) -> TokenKind {
        if id >= self.count {
            return TokenKind::Unused;
        }
        let byte = self.bytes.as_ref().get(self.kinds_at + id as usize);
        byte.and_then(|&byte| TokenKind::from_byte(byte)).unwrap_or(TokenKind::Unused)
    }

    /// Whether an id ends generation.
    pub fn is_end(&self, id: u32) -> bool {
        self.rules.ends.binary_search(&id).is_ok()
    }

    fn offset(&self, index: u32) -> u32 {
        read_u32(self.bytes.as_ref(), self.offsets_at + index as usize * 4)
    }

    fn check_tokens(&self, blob_bytes: u32) -> Result<(), VocabularyTableError> {
        let mut before = self.offset(0);
        if before != 0 {
            return Err(VocabularyTableError::Token {
                id: 0,
                problem: "its bytes do not begin at 0",
            });
        }
        for id in 0..self.count {
            let after = self.offset(id + 1);
            let problem = match after.checked_sub(before) {
                None => "its bytes end before they begin",
                Some(length) if length > TOKEN_BYTES_MAX => "has more than 4096 bytes",
                Some(_) if after > blob_bytes => "its bytes end after the blob",
                Some(_) => {
                    let byte = self.bytes.as_ref()[self.kinds_at + id as usize];
                    if TokenKind::from_byte(byte).is_some() {
                        before = after;
                        continue;
                    }
                    "its kind is unknown"
                }
            };
            return Err(VocabularyTableError::Token { id, problem });
        }
        if before != blob_bytes {
            return Err(VocabularyTableError::Length {
                expected: before.into(),
                found: blob_bytes.into(),
            });
        }
        Ok(())
    }
}
