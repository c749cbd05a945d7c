//! What a session holds of a conversation.

/// What the session holds: a prompt, and the answer to it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The prompt's text, with breaks.
    pub text: String,
    /// The break.
    pub mark: char,
    /// How many turns it was made of.
    pub turns: usize,
    /// Where in the session it ends.
    pub prompt_end: usize,
    /// Whether the tokens after it are the text of the answer and nothing else.
    pub plain: bool,
    /// The answer's last token, if the session does not hold it yet.
    pub unfed: Option<u32>,
}
