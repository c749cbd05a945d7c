//! Texts from outside: the prompt of `run` from its flags, a file or standard input.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, ensure};
use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::args::{Arguments, RunArguments};
use crate::output::{path, warn};

/// Longest text: what the tokenizer takes.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// The text that `run` continues. A command line without one, and without anything on standard
/// input, ends the program as any that cannot be read does.
///
/// # Errors
/// A file that cannot be read, or a text that is too long.
pub fn prompt(arguments: &RunArguments) -> anyhow::Result<String> {
    match (&arguments.prompt, &arguments.file) {
        (Some(text), _) if text != "-" => Ok(text.clone()),
        (Some(_), _) => from_stdin(),
        (None, Some(file)) if file == Path::new("-") => from_stdin(),
        (None, Some(file)) => from_file(file),
        (None, None) => {
            let piped = !io::stdin().is_terminal();
            let text = if piped { from_stdin()? } else { String::new() };
            if text.is_empty() {
                no_prompt();
            }
            Ok(text)
        }
    }
}

fn no_prompt() -> ! {
    let mut command = Arguments::command();
    command.build();
    let run = command.find_subcommand_mut("run").expect("the command is one of the program's");
    let message = "no prompt: give one with --prompt TEXT or --file FILE, or on standard input";
    run.error(ErrorKind::MissingRequiredArgument, message).exit()
}

fn from_stdin() -> anyhow::Result<String> {
    whole(io::stdin().lock(), "standard input")
}

fn from_file(file: &Path) -> anyhow::Result<String> {
    let name = path(file);
    whole(File::open(file).with_context(|| name.clone())?, &name)
}

/// Reads all of a text, but for one line break at its end, which editors and `echo` add.
fn whole(reader: impl Read, name: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    reader.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(|| name.to_owned())?;
    ensure!(
        bytes.len() as u64 <= TEXT_BYTES_MAX,
        "{name}: longer than {TEXT_BYTES_MAX} bytes, the most a prompt may have"
    );
    let wide = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    ensure!(!wide, "{name}: this text is UTF-16; convert it to UTF-8");
    let mut text = decode(bytes, name);
    // A byte order mark is no part of a text.
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Bytes as text: those that are no UTF-8 become U+FFFD, and a line says so.
pub fn decode(bytes: Vec<u8>, name: &str) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            warn(format_args!(
                "[{name}: no UTF-8 from byte {at} on; what cannot be read is U+FFFD]"
            ));
            let bytes = error.into_bytes();
            match String::from_utf8_lossy(&bytes) {
                Cow::Owned(text) => text,
                Cow::Borrowed(text) => text.to_owned(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_as_it_is_but_for_its_last_line_break() {
        let read = |bytes: &[u8]| whole(bytes, "a text").unwrap();
        assert_eq!(read(b"hello\n"), "hello");
        assert_eq!(read(b"hello\r\n"), "hello");
        assert_eq!(read(b"hello\n\n"), "hello\n");
        assert_eq!(read(b"  two\nlines "), "  two\nlines ");
        assert_eq!(read(b"\xef\xbb\xbfmark"), "mark");
        assert_eq!(read(b"caf\xe9 au lait\n"), "caf\u{fffd} au lait");
        assert_eq!(read(b""), "");
        assert!(whole(&b"\xff\xfeh\0"[..], "a text").unwrap_err().to_string().contains("UTF-16"));
        let long = io::repeat(b'x');
        assert!(
            whole(long, "a text").unwrap_err().to_string().contains("longer than 16777216 bytes")
        );
    }
}
