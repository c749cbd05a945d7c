//! The fixed fields of a table.

use alloc::vec::Vec;

use super::error::VocabularyTableError;
use super::layout::*;
use super::token::TextRules;

/// The fixed fields, each within its limit, and the whole length right.
pub(super) struct Header {
    pub(super) count: u32,
    flags: u32,
    begin: u32,
    end: u32,
    pub(super) ends_count: u32,
    pub(super) blob_bytes: u32,
}

impl Header {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, VocabularyTableError> {
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

    pub(super) fn rules(&self, bytes: &[u8]) -> Result<TextRules, VocabularyTableError> {
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
pub(super) fn read_u32(bytes: &[u8], offset: usize) -> u32 {
    match bytes.get(offset..).and_then(|rest| rest.first_chunk::<4>()) {
        Some(field) => u32::from_le_bytes(*field),
        None => 0,
    }
}
