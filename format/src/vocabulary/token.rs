//! What a token is for, and how text begins and ends.

use alloc::vec::Vec;

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
    /// In the table only so that the ids reach the model's vocabulary size.
    Unused = 3,
    /// One byte of text that no other token covers.
    Byte = 4,
    /// Text that the vocabulary cannot write.
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

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
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
