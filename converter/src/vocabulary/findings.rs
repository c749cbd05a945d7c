//! What is found out on the way to the sections of a blob's text.

/// What came to light while a tokenizer was read, one line each.
#[derive(Debug, Default)]
pub struct Findings {
    /// What the person who bakes should know.
    pub warnings: Vec<String>,
    /// What would break a conversation.
    pub problems: Vec<String>,
}
