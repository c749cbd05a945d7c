//! A table that is written.

use alloc::vec::Vec;

use super::error::VocabularyTableError;
use super::layout::*;
use super::table::Vocabulary;
use super::token::{TextRules, TokenKind};

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
