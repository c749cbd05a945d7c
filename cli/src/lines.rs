//! Messages as a person types them, or as a pipe brings them, read on a thread of their own. That
//! way whoever waits for one can be made to stop.
//!
//! A message is a line. It goes on where its last character is a single `\`, and from a line that
//! begins with `"""` to one that ends with it. On a terminal Alt-Enter breaks a line too, and what
//! is pasted is one message with its line breaks.

mod editor;
mod message;

use std::io::{self, BufRead, IsTerminal, Read};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use anyhow::{Context, bail};

pub use message::Next;
use message::{FENCE, ends_open, unfenced};

use crate::{input, interrupt, terminal};

/// A source of messages.
pub struct Lines {
    /// A message is wanted.
    wanted: Sender<()>,
    events: Receiver<Next>,
    terminal: bool,
}

impl Lines {
    /// Messages of at most `bytes_max` bytes from standard input, after this prompt on a terminal.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn open(prompt: &'static str, bytes_max: usize) -> anyhow::Result<Self> {
        let (wanted, requests) = mpsc::channel();
        let (events, received) = mpsc::channel();
        interrupt::wake(events.clone(), Next::Stopped);
        let terminal = io::stdin().is_terminal();
        let read = move || {
            let result = if terminal {
                editor::read(prompt, &requests, &events)
            } else {
                read(bytes_max, &requests, &events)
            };
            if let Err(error) = result {
                let _ = events.send(Next::Failed(error.to_string()));
            }
        };
        thread::Builder::new()
            .name("lines".to_owned())
            .spawn(read)
            .context("a thread that reads lines")?;
        Ok(Self { wanted, events: received, terminal })
    }

    /// Whether a person types them.
    pub fn are_typed(&self) -> bool {
        self.terminal
    }

    /// Waits for a message, or for a request to end.
    ///
    /// # Errors
    /// The messages cannot be read.
    pub fn next(&self) -> anyhow::Result<Next> {
        if interrupt::requested() {
            return Ok(Next::Stopped);
        }
        // A reader that has ended says so below.
        let _ = self.wanted.send(());
        loop {
            match self.events.recv() {
                // What ended an answer a while ago is over.
                Ok(Next::Stopped) if !interrupt::requested() => {}
                Ok(Next::Stopped) => {
                    terminal::restore();
                    return Ok(Next::Stopped);
                }
                Ok(Next::Failed(error)) => {
                    bail!(
                        "cannot read {}: {error}",
                        if self.terminal { "the terminal" } else { "standard input" }
                    )
                }
                Ok(next) => return Ok(next),
                Err(_) => return Ok(Next::End),
            }
        }
    }
}

/// Reads a message for each request from a pipe or a file.
fn read(bytes_max: usize, requests: &Receiver<()>, events: &Sender<Next>) -> anyhow::Result<()> {
    let mut input = io::stdin().lock();
    for () in requests {
        if events.send(message(&mut input, bytes_max)?).is_err() {
            break;
        }
    }
    Ok(())
}

/// The next message.
fn message(input: &mut impl BufRead, bytes_max: usize) -> io::Result<Next> {
    let (mut text, mut fits) = (String::new(), true);
    let mut block = None;
    while let Some(line) = line(input, bytes_max)? {
        fits &= text.len() + line.bytes.len() <= bytes_max && line.whole;
        let line = input::decode(line.bytes, "standard input");
        let opens = block.is_none() && line.trim_start().starts_with(FENCE);
        let rest = if opens { &line.trim_start()[FENCE.len()..] } else { &line };
        let in_block = *block.get_or_insert(opens);
        let goes_on = if in_block { !rest.trim_end().ends_with(FENCE) } else { ends_open(&line) };
        if fits {
            text.push_str(if goes_on && !in_block { &line[..line.len() - 1] } else { &line });
        }
        if !goes_on {
            return Ok(if fits {
                Next::Message(unfenced(&text).to_owned())
            } else {
                Next::TooLong
            });
        }
        if fits {
            text.push('\n');
        }
    }
    // What was begun ends where nothing more comes.
    Ok(match (block, fits) {
        (None, _) => Next::End,
        (Some(_), false) => Next::TooLong,
        (Some(_), true) => Next::Message(unfenced(&text).to_owned()),
    })
}

/// A line without its line break.
struct Line {
    bytes: Vec<u8>,
    /// Whether all of it is here.
    whole: bool,
}

/// The next line, of which no more than `bytes_max` bytes are kept.
fn line(input: &mut impl BufRead, bytes_max: usize) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    if input.take(bytes_max as u64 + 2).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let mut ended = bytes.pop_if(|last| *last == b'\n').is_some();
    if ended {
        bytes.pop_if(|last| *last == b'\r');
    }
    let whole = ended || bytes.len() <= bytes_max;
    // The rest of a line that is too long.
    while !ended && !whole {
        let buffer = input.fill_buf()?;
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let length = end.map_or(buffer.len(), |end| end + 1);
        ended = end.is_some() || length == 0;
        input.consume(length);
    }
    Ok(Some(Line { bytes, whole }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(mut input: &[u8], bytes_max: usize) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            match message(&mut input, bytes_max).unwrap() {
                Next::Message(text) => found.push(text),
                Next::TooLong => found.push("(too long)".to_owned()),
                Next::End => return found,
                next => panic!("{next:?}"),
            }
        }
    }

    #[test]
    fn a_line_is_a_message() {
        assert_eq!(messages(b"one\ntwo\r\n\nlast", 100), ["one", "two", "", "last"]);
        assert_eq!(messages(b"", 100), [""; 0]);
    }

    #[test]
    fn a_byte_that_is_no_text_costs_its_place_only() {
        assert_eq!(messages(b"hi\ncaf\xe9\nhi again\n", 100), ["hi", "caf\u{fffd}", "hi again"]);
    }

    #[test]
    fn a_message_may_have_several_lines() {
        assert_eq!(messages(b"one\\\ntwo\\\n\nthree\n", 100), ["one\ntwo\n", "three"]);
        assert_eq!(messages(b"a path\\\\\nnext\n", 100), ["a path\\\\", "next"]);
        assert_eq!(messages(b"\"\"\"one\ntwo\"\"\"\nthree\n", 100), ["one\ntwo", "three"]);
        assert_eq!(
            messages(b"\"\"\"\none \\\n\n two\n\"\"\"\nthree\n", 100),
            ["one \\\n\n two", "three"]
        );
        assert_eq!(messages(b"\"\"\"in one line\"\"\"\n", 100), ["in one line"]);
        assert_eq!(messages(b"\"\"\"\nnever ended\n", 100), ["never ended\n"]);
        assert_eq!(messages(b"say \"\"\"hi\n", 100), ["say \"\"\"hi"]);
        assert_eq!(messages(b"ends open\\\n", 100), ["ends open\n"]);
    }

    #[test]
    fn what_is_too_long_is_left_out_and_its_size_is_bounded() {
        let long = [vec![b'x'; 100_000], b"\nnext\n".to_vec()].concat();
        assert_eq!(messages(&long, 10), ["(too long)", "next"]);
        assert_eq!(messages(b"0123456789\n01234567890\n", 10), ["0123456789", "(too long)"]);
        assert_eq!(messages(b"01234\\\n56789\nnext\n", 10), ["(too long)", "next"]);
        assert_eq!(messages(b"\"\"\"\n0123456789\n\"\"\"\nnext\n", 10), ["(too long)", "next"]);
        let line = line(&mut &long[..], 10).unwrap().unwrap();
        assert!(!line.whole && line.bytes.len() <= 12);
    }
}
