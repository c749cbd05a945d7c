//! What can be wrong with a blob, each with the place, what was expected and what was found.

use core::fmt;

use crate::role::{Role, SectionKey};

/// A blob that breaks its spec. Every message is one line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FormatError {
    /// The file ends before a field does.
    Truncated {
        /// Where the missing bytes should begin.
        offset: u64,
        /// How many bytes were needed.
        needed: u64,
        /// How many there were.
        found: u64,
    },
    /// A field that can have one value only has another.
    Mismatch {
        /// The field's name.
        field: &'static str,
        /// Where it is.
        offset: u64,
        /// What the spec or another field wants.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A number above its limit.
    OverLimit {
        /// The field's name.
        field: &'static str,
        /// Where it is.
        offset: u64,
        /// The number.
        value: u64,
        /// The most it may be.
        limit: u64,
    },
    /// A number no enumeration of the spec knows.
    Unknown {
        /// The enumeration.
        field: &'static str,
        /// Where it is.
        offset: u64,
        /// The number.
        value: u64,
    },
    /// A floating-point field that is not finite or out of its range.
    BadNumber {
        /// The field's name.
        field: &'static str,
        /// Where it is.
        offset: u64,
    },
    /// Records that are not in strictly ascending order (this is also how a duplicate shows).
    Order {
        /// Which table.
        table: &'static str,
        /// The record's number.
        index: u32,
    },
    /// Bytes do not have the hash that is in the index.
    Hash {
        /// The section, or none for the header and index.
        section: Option<SectionKey>,
    },
    /// A tensor that the spec section wants is absent.
    MissingTensor {
        /// Its section.
        section: SectionKey,
        /// Its role.
        role: Role,
    },
    /// A tensor's shape differs from what the spec section says.
    Shape {
        /// Its section.
        section: SectionKey,
        /// Its role.
        role: Role,
        /// Stack, rows and columns expected.
        expected: [u32; 3],
        /// Stack, rows and columns found.
        found: [u32; 3],
    },
    /// A tensor's encoding cannot be used in its role.
    EncodingForRole {
        /// Its section.
        section: SectionKey,
        /// Its role.
        role: Role,
        /// The encoding's name.
        found: &'static str,
    },
    /// A tensor that nothing uses.
    UnusedTensor {
        /// Its section.
        section: SectionKey,
        /// Its role.
        role: Role,
    },
    /// A section every blob needs is absent, or one is where the spec section has no place for
    /// it.
    Section {
        /// The section.
        section: SectionKey,
        /// `missing` or `unexpected`.
        problem: &'static str,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { offset, needed, found } => {
                write!(f, "truncated: {needed} bytes needed at offset {offset}, found {found}")
            }
            Self::Mismatch { field, offset, expected, found } => {
                write!(f, "{field} at offset {offset}: expected {expected}, found {found}")
            }
            Self::OverLimit { field, offset, value, limit } => {
                write!(f, "{field} at offset {offset}: {value} is over the limit {limit}")
            }
            Self::Unknown { field, offset, value } => {
                write!(f, "{field} at offset {offset}: unknown value {value}")
            }
            Self::BadNumber { field, offset } => {
                write!(f, "{field} at offset {offset}: not a number in its range")
            }
            Self::Order { table, index } => {
                write!(
                    f,
                    "{table} record {index}: expected to come after the one before it, found a duplicate or disorder"
                )
            }
            Self::Hash { section: None } => {
                write!(f, "header or index: content does not have the root hash written beside it")
            }
            Self::Hash { section: Some(key) } => {
                write!(f, "section {key}: content does not have the hash in the index")
            }
            Self::MissingTensor { section, role } => {
                write!(f, "section {section}: tensor {role} is missing")
            }
            Self::Shape { section, role, expected, found } => write!(
                f,
                "section {section}: tensor {role}: expected shape {}x{}x{}, found {}x{}x{}",
                expected[0], expected[1], expected[2], found[0], found[1], found[2]
            ),
            Self::EncodingForRole { section, role, found } => {
                write!(f, "section {section}: tensor {role}: encoding {found} cannot be used here")
            }
            Self::UnusedTensor { section, role } => {
                write!(f, "section {section}: tensor {role} is not part of this network")
            }
            Self::Section { section, problem } => write!(f, "section {section}: {problem}"),
        }
    }
}

impl core::error::Error for FormatError {}
