//! What a message is: one line, or several between fences or after a `\`.

/// What comes next.
#[derive(Clone, Debug)]
pub enum Next {
    Message(String),
    /// A message had more bytes than fit.
    TooLong,
    /// Ctrl-C on an empty line of a terminal.
    Interrupted,
    /// Ctrl-D, or the end of the input.
    End,
    /// The end of the program was asked for.
    Stopped,
    /// The terminal or the pipe cannot be read.
    Failed(String),
}

/// What a message of several lines begins and ends with.
pub const FENCE: &str = "\"\"\"";

/// Whether a message goes on after this line: it ends with one `\`, or an odd number of them.
pub fn ends_open(line: &str) -> bool {
    (line.len() - line.trim_end_matches('\\').len()) % 2 == 1
}

/// Whether a text begins a block of lines and does not end it.
pub fn in_block(text: &str) -> bool {
    text.trim_start().strip_prefix(FENCE).is_some_and(|rest| !rest.contains(FENCE))
}

/// A message without the fences around it, and without the line breaks beside them.
pub fn unfenced(text: &str) -> &str {
    let Some(inner) = text.trim_start().strip_prefix(FENCE) else { return text };
    let inner = match inner.trim_end().strip_suffix(FENCE) {
        Some(inner) => inner.strip_suffix('\n').unwrap_or(inner),
        // The pipe ended first; on a terminal, what follows the fence's end belongs to the text,
        // and so does the fence.
        None if !inner.contains(FENCE) => inner,
        None => return text,
    };
    inner.strip_prefix('\n').unwrap_or(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_is_typed_ends_with_its_fence() {
        assert!(in_block("\"\"\"one\ntwo") && in_block(" \"\"\""));
        assert!(!in_block("\"\"\"one\"\"\"") && !in_block("one \"\"\"") && !in_block(""));
        assert_eq!(unfenced("\"\"\"\none\n\"\"\" "), "one");
        assert_eq!(unfenced("\"\"\"doc\"\"\"\ndef f(): pass"), "\"\"\"doc\"\"\"\ndef f(): pass");
    }
}
