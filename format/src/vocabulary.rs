//! The vocabulary section: a table that turns token ids into bytes with no library and no
//! allocation.
//!
//! All numbers are little-endian `u32` unless said otherwise. `NONE` is `0xFFFF_FFFF`.
//!
//! | field | bytes | rule |
//! |---|---|---|
//! | magic | 4 | `TVOC` |
//! | version | 4 | 1 |
//! | count | 4 | tokens, 1 to `COUNT_MAX` |
//! | flags | 4 | bit 0 add the begin token, bit 1 add the end token, bit 2 strip one leading space; the rest zero |
//! | begin | 4 | id of the begin token, or `NONE`; below count |
//! | end | 4 | id of the end token (`eos_token` of a chat template), or `NONE`; below count |
//! | ends count | 4 | at most `ENDS_MAX` |
//! | blob bytes | 4 | length of the blob, at most `BLOB_BYTES_MAX` |
//! | ends | 4 each | ids that end generation, strictly ascending, below count |
//! | offsets | 4 x (count + 1) | first 0, never falling, last = blob bytes, no step above `TOKEN_BYTES_MAX` |
//! | kinds | 1 x count | a `TokenKind` each |
//! | blob | blob bytes | the tokens' bytes, one after another; nothing follows |
//!
//! | kind | byte | may come from plain text | shown when generated |
//! |---|---|---|---|
//! | normal | 0 | yes | yes |
//! | control | 1 | no | no |
//! | user-defined | 2 | yes | yes |
//! | unused | 3 | no | no |
//! | byte | 4 | yes | yes |
//! | unknown | 5 | yes | yes |
//! | marker | 6 | no | yes |

use alloc::vec::Vec;
use core::fmt;

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

const HEADER_BYTES: usize = 32;
const NONE: u32 = u32::MAX;
const ADD_BEGIN: u32 = 1;
const ADD_END: u32 = 2;
const STRIP_LEADING_SPACE: u32 = 4;
const FLAGS_KNOWN: u32 = ADD_BEGIN | ADD_END | STRIP_LEADING_SPACE;

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

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenKind {
    /// Text.
    Normal = 0,
    /// Steers the model and is no text: begin, end, turn marks.
    Control = 1,
    /// Added by the model's makers, matched before the merges, and is text.
    UserDefined = 2,
    /// Stands in the table only so that the ids reach the model's vocabulary size.
    Unused = 3,
    /// One byte of text that no other token covers.
    Byte = 4,
    /// Stands for text that the vocabulary cannot write.
    Unknown = 5,
    /// Steers the model as `Control` does, and its name is text when the model writes it:
    /// `<think>`, `<tool_call>`.
    Marker = 6,
}

impl TokenKind {
    /// Whether the token steers the model: only a chat template may write it, never what somebody
    /// typed.
    pub const fn steers(self) -> bool {
        matches!(self, Self::Control | Self::Marker)
    }

    /// Whether the token is part of a text that is shown.
    pub const fn is_text(self) -> bool {
        !matches!(self, Self::Control | Self::Unused)
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Normal,
            1 => Self::Control,
            2 => Self::UserDefined,
            3 => Self::Unused,
            4 => Self::Byte,
            5 => Self::Unknown,
            6 => Self::Marker,
            _ => return None,
        })
    }
}

/// How text begins and ends, beside the tokens themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextRules {
    /// The begin token.
    pub begin: Option<u32>,
    /// The end token that a chat template calls `eos_token`.
    pub end: Option<u32>,
    /// A prompt starts with the begin token.
    pub add_begin: bool,
    /// A document ends with the end token.
    pub add_end: bool,
    /// Decoded text loses one space at its start (SentencePiece puts it there).
    pub strip_leading_space: bool,
    /// Ids that end generation, strictly ascending.
    pub ends: Vec<u32>,
}

/// A table that breaks its rules. Every message is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VocabularyTableError {
    /// The bytes end before a field does, or go on after the last.
    Length {
        /// Bytes that the fields ask for.
        expected: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// A field has a value that it may not have.
    Field {
        /// The field's name.
        field: &'static str,
        /// Where it stands, counted from the section's start.
        offset: u64,
        /// The largest or only value allowed.
        expected: u64,
        /// The value.
        found: u64,
    },
    /// One token breaks a rule.
    Token {
        /// Its id.
        id: u32,
        /// The rule.
        problem: &'static str,
    },
}

impl fmt::Display for VocabularyTableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => {
                write!(f, "vocabulary: {expected} bytes expected, {found} found")
            }
            Self::Field { field, offset, expected, found } => {
                write!(
                    f,
                    "vocabulary: {field} at offset {offset}: expected at most {expected}, found {found}"
                )
            }
            Self::Token { id, problem } => write!(f, "vocabulary: token {id}: {problem}"),
        }
    }
}

impl core::error::Error for VocabularyTableError {}

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

/// The fixed fields, each within its limit, and the whole length right.
struct Header {
    count: u32,
    flags: u32,
    begin: u32,
    end: u32,
    ends_count: u32,
    blob_bytes: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, VocabularyTableError> {
        let found = bytes.len() as u64;
        if bytes.len() < HEADER_BYTES {
            return Err(VocabularyTableError::Length { expected: HEADER_BYTES as u64, found });
        }
        let take = |field, offset, limit: u32| {
            let value = read_u32(bytes, offset);
            if value <= limit { Ok(value) } else { Err(field_error(field, offset, limit, value)) }
        };
        for (field, offset, only) in [("magic", 0, MAGIC), ("version", 4, VERSION)] {
            let value = read_u32(bytes, offset);
            if value != only {
                return Err(field_error(field, offset, only, value));
            }
        }
        let count = take("count", 8, COUNT_MAX)?;
        if count == 0 {
            return Err(field_error("count", 8, COUNT_MAX, count));
        }
        let flags = take("flags", 12, FLAGS_KNOWN)?;
        let begin = take_id(bytes, "begin", 16, count)?;
        let end = take_id(bytes, "end", 20, count)?;
        let ends_count = take("ends count", 24, ENDS_MAX)?;
        let blob_bytes = take("blob bytes", 28, BLOB_BYTES_MAX)?;
        let expected = HEADER_BYTES as u64
            + u64::from(ends_count) * 4
            + (u64::from(count) + 1) * 4
            + u64::from(count)
            + u64::from(blob_bytes);
        if expected != found {
            return Err(VocabularyTableError::Length { expected, found });
        }
        Ok(Self { count, flags, begin, end, ends_count, blob_bytes })
    }

    fn rules(&self, bytes: &[u8]) -> Result<TextRules, VocabularyTableError> {
        let mut ends = Vec::with_capacity(self.ends_count as usize);
        for index in 0..self.ends_count as usize {
            let offset = HEADER_BYTES + index * 4;
            let id = read_u32(bytes, offset);
            let ascending = ends.last().is_none_or(|&last| last < id);
            if id >= self.count || !ascending {
                return Err(field_error("ends", offset, self.count - 1, id));
            }
            ends.push(id);
        }
        Ok(TextRules {
            begin: (self.begin != NONE).then_some(self.begin),
            end: (self.end != NONE).then_some(self.end),
            add_begin: self.flags & ADD_BEGIN != 0,
            add_end: self.flags & ADD_END != 0,
            strip_leading_space: self.flags & STRIP_LEADING_SPACE != 0,
            ends,
        })
    }
}

fn take_id(
    bytes: &[u8],
    field: &'static str,
    offset: usize,
    count: u32,
) -> Result<u32, VocabularyTableError> {
    let value = read_u32(bytes, offset);
    if value == NONE || value < count {
        Ok(value)
    } else {
        Err(field_error(field, offset, count - 1, value))
    }
}

fn field_error(
    field: &'static str,
    offset: usize,
    expected: u32,
    found: u32,
) -> VocabularyTableError {
    VocabularyTableError::Field {
        field,
        offset: offset as u64,
        expected: expected.into(),
        found: found.into(),
    }
}

/// The `u32` at `offset`; zero beyond the end, which `read` has ruled out before any lookup.
fn read_u32(bytes: &[u8], offset: usize) -> u32 {
    match bytes.get(offset..).and_then(|rest| rest.first_chunk::<4>()) {
        Some(field) => u32::from_le_bytes(*field),
        None => 0,
    }
}

/// Writes a table; `tokens` are `(kind, bytes)` in order of id. Whatever a reader would refuse,
/// this refuses too.
pub fn write<T: AsRef<[u8]>>(
    rules: &TextRules,
    tokens: &[(TokenKind, T)],
) -> Result<Vec<u8>, VocabularyTableError> {
    let count = limited("count", 8, tokens.len(), COUNT_MAX)?;
    let ends_count = limited("ends count", 24, rules.ends.len(), ENDS_MAX)?;
    let blob_bytes: usize = tokens.iter().map(|(_, token)| token.as_ref().len()).sum();
    let blob_bytes = limited("blob bytes", 28, blob_bytes, BLOB_BYTES_MAX)?;
    let flags = (u32::from(rules.add_begin) * ADD_BEGIN)
        | (u32::from(rules.add_end) * ADD_END)
        | (u32::from(rules.strip_leading_space) * STRIP_LEADING_SPACE);
    let begin = rules.begin.unwrap_or(NONE);
    let end = rules.end.unwrap_or(NONE);

    let mut bytes = Vec::new();
    for field in [MAGIC, VERSION, count, flags, begin, end, ends_count, blob_bytes] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    for id in &rules.ends {
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    let mut offset = 0u32;
    bytes.extend_from_slice(&offset.to_le_bytes());
    for (_, token) in tokens {
        // Cannot overflow: the sum of all lengths is `blob_bytes`.
        offset += token.as_ref().len() as u32;
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    bytes.extend(tokens.iter().map(|&(kind, _)| kind as u8));
    for (_, token) in tokens {
        bytes.extend_from_slice(token.as_ref());
    }
    Vocabulary::read(bytes.as_slice())?;
    Ok(bytes)
}

fn limited(
    field: &'static str,
    offset: u64,
    value: usize,
    limit: u32,
) -> Result<u32, VocabularyTableError> {
    match u32::try_from(value) {
        Ok(value) if value <= limit => Ok(value),
        _ => Err(VocabularyTableError::Field {
            field,
            offset,
            expected: limit.into(),
            found: value as u64,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Vec<u8> {
        let rules = TextRules {
            begin: Some(0),
            end: Some(1),
            add_begin: true,
            ends: [1, 2].into(),
            ..TextRules::default()
        };
        let tokens: [(TokenKind, &[u8]); 4] = [
            (TokenKind::Control, b"<s>"),
            (TokenKind::Control, b"</s>"),
            (TokenKind::Normal, b" the"),
            (TokenKind::Byte, b"\xff"),
        ];
        write(&rules, &tokens).unwrap()
    }

    #[test]
    fn gives_back_what_was_written() {
        let table = Vocabulary::read(small()).unwrap();
        assert_eq!(table.bytes(2), b" the");
        assert_eq!(table.bytes(3), b"\xff");
        assert_eq!((table.kind(1), table.kind(3)), (TokenKind::Control, TokenKind::Byte));
        assert!(table.is_end(2) && !table.is_end(0) && !table.is_end(u32::MAX));
        assert!(table.rules().add_begin && !table.rules().add_end);
        assert_eq!((table.rules().begin, table.rules().end), (Some(0), Some(1)));
        assert_eq!((table.bytes(4), table.bytes(u32::MAX)), (&b""[..], &b""[..]));
        assert_eq!(table.kind(u32::MAX), TokenKind::Unused);
    }

    #[test]
    fn every_kind_goes_through_its_byte() {
        let kinds = [
            // Kind, whether it steers, whether it is text.
            (TokenKind::Normal, false, true),
            (TokenKind::Control, true, false),
            (TokenKind::UserDefined, false, true),
            (TokenKind::Unused, false, false),
            (TokenKind::Byte, false, true),
            (TokenKind::Unknown, false, true),
            (TokenKind::Marker, true, true),
        ];
        let tokens = kinds.map(|(kind, _, _)| (kind, b"x"));
        let table = Vocabulary::read(write(&TextRules::default(), &tokens).unwrap()).unwrap();
        for (id, (kind, steers, is_text)) in (0..).zip(kinds) {
            assert_eq!((kind as u32, table.kind(id)), (id, kind));
            assert_eq!((kind.steers(), kind.is_text()), (steers, is_text));
        }
        assert_eq!(TokenKind::from_byte(7), None);
    }

    #[test]
    fn refuses_every_truncation_and_extension() {
        let mut bytes = small();
        for length in 0..bytes.len() {
            assert!(Vocabulary::read(&bytes[..length]).is_err(), "{length} bytes");
        }
        bytes.push(0);
        assert!(Vocabulary::read(&bytes).is_err());
    }

    #[test]
    fn no_changed_byte_makes_a_lookup_panic() {
        let bytes = small();
        for at in 0..bytes.len() {
            for flip in 1..=255 {
                let mut hostile = bytes.clone();
                hostile[at] ^= flip;
                let Ok(table) = Vocabulary::read(&hostile) else { continue };
                for id in (0..6).chain([u32::MAX - 1, u32::MAX]) {
                    assert!(table.bytes(id).len() <= TOKEN_BYTES_MAX as usize);
                    let _ = (table.kind(id), table.is_end(id));
                }
            }
        }
    }

    #[test]
    fn holds_its_limits_from_both_sides() {
        let rules = TextRules::default();
        let token = |length: usize| [(TokenKind::Normal, alloc::vec![b'a'; length])];
        assert!(write(&rules, &token(TOKEN_BYTES_MAX as usize)).is_ok());
        assert!(write(&rules, &token(TOKEN_BYTES_MAX as usize + 1)).is_err());
        let ends = |count| TextRules { ends: (0..count).collect(), ..TextRules::default() };
        let tokens = alloc::vec![(TokenKind::Normal, b""); 100];
        assert!(write(&ends(ENDS_MAX), &tokens).is_ok());
        assert!(write(&ends(ENDS_MAX + 1), &tokens).is_err());
        let many = |count: u32| alloc::vec![(TokenKind::Unused, b""); count as usize];
        assert!(write(&rules, &many(COUNT_MAX)).is_ok());
        assert!(write(&rules, &many(COUNT_MAX + 1)).is_err());
        assert!(write(&rules, &many(0)).is_err());
        assert!(write(&TextRules { begin: Some(1), ..rules.clone() }, &many(1)).is_err());
        assert!(write(&TextRules { ends: [1, 0].into(), ..rules }, &many(2)).is_err());
    }
}
