//! What can be wrong with a table.

use core::fmt;

/// A table that breaks its rules. Every message is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VocabularyTableError {
    /// The bytes end before a field does, or go on after the last.
    Length {
        /// Bytes that the fields want.
        expected: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// A field has a value that it may not have.
    Field {
        /// The field's name.
        field: &'static str,
        /// Where it is, counted from the section's start.
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
