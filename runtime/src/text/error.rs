//! What can go wrong between text and tokens.

use hardtack_format::vocabulary::VocabularyTableError;

/// A tokenizer or a text that cannot be used. Every message is one line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The vocabulary section breaks its rules.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyTableError),
    /// The tokenizer section cannot be used.
    #[error("tokenizer section: {0}")]
    Tokenizer(String),
    /// The system has no room for a tokenizer of this size.
    #[error(
        "tokenizer section: reading it takes up to {bytes} bytes of memory, for which the system has no room"
    )]
    Memory {
        /// What it takes at most.
        bytes: u64,
    },
    /// A section or a text above its limit.
    #[error("{what}: {found} bytes, the limit is {limit}")]
    Size {
        /// What is too long.
        what: &'static str,
        /// Its bytes.
        found: usize,
        /// The most it may have.
        limit: usize,
    },
    /// The tokenizer failed on this text.
    #[error("the text cannot be encoded: {0}")]
    Encode(String),
    /// The tokenizer gave an id that the vocabulary table does not have: the sections do not belong
    /// together.
    #[error("the tokenizer gave token {id}, the vocabulary has {count}")]
    UnknownToken {
        /// The id.
        id: u32,
        /// Ids of the table.
        count: u32,
    },
    /// Plain text came out as a control token or a marker: the tokenizer cannot keep them apart.
    #[error("plain text was encoded as token {0}, which steers the model")]
    ControlInPlainText(u32),
    /// Stop strings beyond their limits.
    #[error("stop strings: {0}")]
    Stops(&'static str),
}

/// A chat template that cannot be rendered. Every message is one line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The template is too long.
    #[error("chat template: {found} bytes, the limit is {limit}")]
    Size {
        /// Its bytes.
        found: usize,
        /// The most it may have.
        limit: usize,
    },
    /// There is nothing in the template.
    #[error("chat template: it is empty, so the model has no form of conversation")]
    Empty,
    /// What the template was given cannot be used.
    #[error("chat template's input: {0}")]
    Input(String),
    /// The template is not one that the engine reads.
    #[error("chat template: {0}")]
    Syntax(String),
    /// The template refuses these messages, by `raise_exception`.
    #[error("chat template: {0}")]
    Refused(String),
    /// The template failed on these messages.
    #[error("chat template: {0}")]
    Render(String),
    /// The template ran too long.
    #[error("chat template: more than {0} steps")]
    Steps(u64),
    /// The template's values took too much memory.
    #[error("chat template: its values take more than {0} bytes")]
    Memory(usize),
    /// Rendering was stopped by whoever asked for it.
    #[error("chat template: interrupted")]
    Interrupted,
    /// The template made too much text.
    #[error("chat template: more than {0} bytes of text")]
    Output(usize),
}
