//! What a line of a chat asks for: a message, or one of the program's commands.

use std::path::PathBuf;

/// What `/help` shows.
pub const HELP: &str = "\
/reset  begin anew
/save   with a file: keep the conversation there, as --session does
/help   this list
/exit   leave (also /bye, /quit and Ctrl-D)
//...   a message that begins with one slash
A message goes on in the next line after a \\ at its end, between \"\"\" and \"\"\", and after Alt-Enter.
Ctrl-C ends an answer, clears a line, and on an empty line leaves.
";

/// A line, understood.
#[derive(Debug, PartialEq)]
pub enum Line<'a> {
    Empty,
    Message(&'a str),
    Reset,
    Save(PathBuf),
    Help,
    Leave,
    /// No command of ours, or one without what it needs: what to tell.
    Unknown(String),
}

impl<'a> Line<'a> {
    /// Understands what was typed.
    pub fn of(text: &'a str) -> Self {
        let text = text.trim();
        let Some(command) = text.strip_prefix('/') else {
            return if text.is_empty() { Self::Empty } else { Self::Message(text) };
        };
        if command.starts_with('/') {
            return Self::Message(command);
        }
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (name, rest.trim()) {
            ("exit" | "bye" | "quit", "") => Self::Leave,
            ("help" | "?", "") => Self::Help,
            ("reset" | "clear", "") => Self::Reset,
            ("save", "") => Self::Unknown("/save needs a file: /save FILE".to_owned()),
            ("save", file) => Self::Save(file.into()),
            ("exit" | "bye" | "quit" | "help" | "reset" | "clear", _) => Self::Unknown(format!(
                "/{name} takes no text; // at its beginning sends a line that begins with a slash"
            )),
            _ => Self::Unknown(format!(
                "no command /{name}; /help lists them, // at its beginning sends the line"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        assert_eq!(Line::of("  hello /exit "), Line::Message("hello /exit"));
        assert_eq!(Line::of(" \n"), Line::Empty);
        for leave in ["/exit", "/bye", "/quit", " /exit  "] {
            assert_eq!(Line::of(leave), Line::Leave);
        }
        assert_eq!(
            (Line::of("/help"), Line::of("/?"), Line::of("/reset")),
            (Line::Help, Line::Help, Line::Reset)
        );
        assert_eq!(Line::of("/save a talk.session "), Line::Save("a talk.session".into()));
        assert_eq!(Line::of("//usr/bin is a folder"), Line::Message("/usr/bin is a folder"));
        for (unknown, word) in [
            ("/foo bar", "/foo"),
            ("/", "no command /;"),
            ("/save", "/save FILE"),
            ("/exit now", "takes no text"),
        ] {
            assert!(
                matches!(Line::of(unknown), Line::Unknown(said) if said.contains(word)),
                "{unknown}"
            );
        }
    }
}
