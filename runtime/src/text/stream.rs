//! Token ids in, complete pieces of UTF-8 text out, as they come; nothing is allocated after `new`.

use std::fmt;

use hardtack_format::vocabulary::{TOKEN_BYTES_MAX, Vocabulary};

use crate::text::stops::{STOP_BYTES_MAX, Stops};

/// Bytes of a UTF-8 sequence that can be waiting for its last byte.
const INCOMPLETE_BYTES_MAX: usize = 3;
const INPUT_BYTES_MAX: usize = INCOMPLETE_BYTES_MAX + TOKEN_BYTES_MAX as usize;
/// At worst every byte is invalid and becomes a U+FFFD, after text held back for a stop string.
const TEXT_BYTES_MAX: usize =
    STOP_BYTES_MAX + INPUT_BYTES_MAX * char::REPLACEMENT_CHARACTER.len_utf8();

/// Where a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// At the start of a text: a leading space that the tokenizer put there is taken away.
    Text,
    /// After a prompt: every space counts.
    Continuation,
}

/// Text that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Whole characters, possibly none.
    pub text: &'a str,
    /// The number of the stop string that the text has come to; no text follows.
    pub stop: Option<usize>,
}

/// Joins tokens to text: holds back unfinished UTF-8 and whatever may be the beginning of a stop
/// string, and writes U+FFFD for invalid bytes exactly as `String::from_utf8_lossy` would for the
/// whole. Control tokens are no text; markers are (`<think>`).
pub struct TextStream<'v, B> {
    vocabulary: &'v Vocabulary<B>,
    stops: Stops,
    /// Unfinished sequence, then the new token's bytes. Capacity `INPUT_BYTES_MAX`, never
    /// exceeded.
    input: Vec<u8>,
    /// Text given out by the last call, then text held back. Capacity `TEXT_BYTES_MAX`, never
    /// exceeded.
    text: String,
    /// Bytes of `text` that the last call gave out.
    given: usize,
    strip_space: bool,
    stop: Option<usize>,
}

impl<B> fmt::Debug for TextStream<'_, B> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("TextStream").field("text", &self.text).finish_non_exhaustive()
    }
}

impl<'v, B: AsRef<[u8]>> TextStream<'v, B> {
    /// Allocates all that the stream will need, about 17 KiB.
    pub fn new(vocabulary: &'v Vocabulary<B>, opening: Opening, stops: Stops) -> Self {
        Self {
            vocabulary,
            stops,
            input: Vec::with_capacity(INPUT_BYTES_MAX),
            text: String::with_capacity(TEXT_BYTES_MAX),
            given: 0,
            strip_space: opening == Opening::Text && vocabulary.rules().strip_leading_space,
            stop: None,
        }
    }

    /// Takes one token. After a stop nothing more comes out.
    pub fn push(&mut self, id: u32) -> Piece<'_> {
        let mut bytes =
            if self.vocabulary.kind(id).is_text() { self.vocabulary.bytes(id) } else { &[] };
        if self.strip_space && !bytes.is_empty() {
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
            self.strip_space = false;
        }
        self.forget_given();
        self.decode(bytes);
        self.give(Ending::Open)
    }

    /// Returns what is held back; call it once, after the last token.
    pub fn finish(&mut self) -> Piece<'_> {
        self.forget_given();
        if !self.input.is_empty() && self.stop.is_none() {
            self.input.clear();
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        self.give(Ending::Closed)
    }

    fn forget_given(&mut self) {
        self.text.drain(..self.given);
        self.given = 0;
    }

    /// Moves every finished character from `input` and `bytes` to `text`.
    fn decode(&mut self, bytes: &[u8]) {
        assert!(
            self.input.len() <= INCOMPLETE_BYTES_MAX && bytes.len() <= TOKEN_BYTES_MAX as usize
        );
        if self.stop.is_some() {
            return;
        }
        self.input.extend_from_slice(bytes);
        let mut rest = 0;
        for chunk in self.input.utf8_chunks() {
            self.text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            rest += chunk.valid().len() + invalid.len();
            if invalid.is_empty() {
                continue;
            }
            if rest == self.input.len() && is_unfinished(invalid) {
                rest -= invalid.len();
                break;
            }
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        self.input.drain(..rest);
    }

    fn give(&mut self, ending: Ending) -> Piece<'_> {
        if self.stop.is_none()
            && let Some((start, number)) = self.stops.find(&self.text)
        {
            self.stop = Some(number);
            self.text.truncate(start);
            self.input.clear();
        }
        let held = match ending {
            Ending::Open if self.stop.is_none() => self.stops.held_back(&self.text),
            _ => 0,
        };
        self.given = self.text.len() - held;
        Piece { text: &self.text[..self.given], stop: self.stop }
    }
}

/// Whether more tokens may follow.
enum Ending {
    Open,
    Closed,
}

/// Whether the bytes are the beginning of a character whose end may still come.
fn is_unfinished(invalid: &[u8]) -> bool {
    std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none())
}
