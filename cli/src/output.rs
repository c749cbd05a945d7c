//! What the program says: standard output that may be closed at any time, notes and errors beside it.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Writes text at once, so that a stream of tokens is seen as it comes.
pub fn show(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a line to standard error. Nobody may be reading there, and no work ends because of that.
pub fn note(line: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether an error is that nobody reads any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error with its causes in one line. Many an error ends with its cause already, which is then not said twice; and a
/// name from outside may not break the line or colour a terminal.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    let escaped = |letter: char| if letter.is_control() { letter.escape_default().to_string() } else { letter.into() };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_is_said_once_and_in_one_line() {
        let cause = || io::Error::other("no\nroom");
        let error = Err::<(), _>(cause()).context("a.tack").unwrap_err();
        assert_eq!(one_line(&error), "a.tack: no\\nroom");
        let error = Err::<(), _>(cause()).context("a.tack: no\nroom").unwrap_err();
        assert_eq!(one_line(&error), "a.tack: no\\nroom");
    }
}
