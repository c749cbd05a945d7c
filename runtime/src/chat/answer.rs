//! An answer as it comes: text, thinking, and what becomes of it in the conversation.

use std::collections::VecDeque;
use std::fmt;

use super::ledger::Ledger;
use super::reader::{Piece, Reader};
use super::state::State;
use super::turn::Turn;
use crate::error::Error;
use crate::generate::{Event, Report, Run};
use crate::session::Ended;

/// A piece of an answer.
///
/// ```
/// use hardtack::{ChatOptions, Delta, Engine};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// let mut chat = engine.chat(ChatOptions::new())?;
/// for delta in chat.ask("Hello")? {
///     match delta? {
///         Delta::Reading { done, total } => println!("{done} of {total} tokens read"),
///         Delta::Thinking(text) => eprint!("{text}"),
///         delta => print!("{delta}"),
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delta {
    /// The prompt is being read.
    Reading {
        /// Tokens read, those kept from before included.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// What the model thinks on its way to the answer.
    Thinking(String),
    /// Text of the answer.
    Text(String),
}

impl Delta {
    /// The text of the answer in it; none in thinking.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Reading { .. } | Self::Thinking(_) => "",
        }
    }
}

/// The text of the answer in it, as [`Delta::text`].
impl fmt::Display for Delta {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.text())
    }
}

/// An answer on its way: an iterator over its pieces. It is complete when `next` returns `None`;
/// the conversation then has it, and its file too. An answer that is dropped before is kept as far
/// as it came.
///
/// ```
/// use hardtack::{ChatOptions, Engine};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// let mut chat = engine.chat(ChatOptions::new())?;
/// assert!(chat.ask("What is a ring?")?.text()?.starts_with("A ring buffer"));
/// # Ok(()) }
/// ```
pub struct Answer<'c> {
    state: &'c mut State,
    reader: Reader<'c>,
    run: Run,
    turn: Turn,
    pieces: Vec<Piece>,
    ready: VecDeque<Result<Delta, Error>>,
    /// What the conversation goes on from if nothing comes of this answer.
    before: Before,
    ledger: Ledger,
    committed: bool,
}

/// The conversation before a message.
pub struct Before {
    /// What the session held.
    pub ledger: Option<Ledger>,
    /// How many tokens.
    pub position: usize,
}

impl<'c> Answer<'c> {
    pub(super) fn new(
        state: &'c mut State,
        reader: Reader<'c>,
        run: Run,
        before: Before,
        ledger: Ledger,
    ) -> Self {
        let turn = Turn::assistant("");
        let (pieces, ready) = (Vec::new(), VecDeque::new());
        Self { state, reader, run, turn, pieces, ready, before, ledger, committed: false }
    }

    /// What it took so far; after the end, why it ended. [`Chat::report`](super::Chat::report) has
    /// it after the answer.
    pub fn report(&self) -> Report {
        self.run.report()
    }

    /// The prompt that is answered, for people.
    pub fn prompt(&self) -> String {
        self.ledger.text.replace(self.ledger.mark, "")
    }

    /// Everything that is said in the answer, once it is complete.
    ///
    /// # Errors
    /// As the pieces.
    pub fn text(self) -> Result<String, Error> {
        let mut all = String::new();
        for delta in self {
            all.push_str(delta?.text());
        }
        Ok(all)
    }

    /// Takes what the reader made of the tokens.
    fn take(&mut self) {
        for piece in self.pieces.drain(..) {
            let delta = match piece {
                Piece::Thinking(text) => {
                    keep_within(self.state.bytes_max, &mut self.turn.thinking, &text);
                    Delta::Thinking(text)
                }
                Piece::Text(text) => {
                    if keep_within(self.state.bytes_max, &mut self.turn.content, &text) {
                        self.turn.markers.clear();
                        self.ledger.plain = false;
                    }
                    Delta::Text(text)
                }
                Piece::Marker(name) => {
                    self.turn.markers.push(self.turn.content.len());
                    self.turn.content.push_str(&name);
                    Delta::Text(name)
                }
            };
            let is_empty =
                matches!(&delta, Delta::Thinking(text) | Delta::Text(text) if text.is_empty());
            if !is_empty {
                self.ready.push_back(Ok(delta));
            }
        }
    }

    /// The conversation takes the answer, or the message back if nothing was answered.
    fn commit(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.committed, true) {
            return Ok(());
        }
        let report = self.run.report();
        let ended = report.new == 0 && matches!(report.ended, Ended::Cancelled | Ended::Length);
        let kept = self.run.has_read() && !ended;
        self.run.note(report.forgotten, kept);
        self.state.report = Some(self.run.report());
        if !kept {
            self.state.turns.pop();
            let back = self
                .state
                .pen
                .session
                .truncate(self.before.position.min(self.state.pen.session.position()));
            self.state.ledger = self.before.ledger.take().filter(|_| back == self.before.position);
            return Ok(());
        }
        self.turn.thinking.truncate(self.turn.thinking.trim_end().len());
        self.ledger.plain &= self.reader.is_plain();
        self.ledger.unfed = self.run.pending();
        self.state.turns.push(std::mem::take(&mut self.turn));
        self.state.ledger = Some(std::mem::take(&mut self.ledger));
        self.state.save_after_turn()
    }

    fn end(&mut self) {
        if self.run.has_read() {
            self.reader.finish(&mut self.pieces);
            self.take();
        }
        if let Err(error) = self.commit() {
            self.ready.push_back(Err(error));
        }
    }
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Answer").field("report", &self.report()).finish_non_exhaustive()
    }
}

impl Iterator for Answer<'_> {
    type Item = Result<Delta, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            if self.committed {
                return None;
            }
            match self.state.pen.step(&mut self.run) {
                Ok(Event::Read) => {
                    self.ledger.prompt_end = self.state.pen.session.position();
                    let (done, total) = self.run.progress();
                    return Some(Ok(Delta::Reading { done, total }));
                }
                Ok(Event::Token(token)) => {
                    if self.reader.push(token, &mut self.pieces) {
                        self.run.end(Ended::Stopped);
                    }
                    self.take();
                }
                Ok(Event::End) => self.end(),
                Err(error) => {
                    self.run.end(Ended::Cancelled);
                    self.end();
                    self.ready.push_back(Err(error));
                }
            }
        }
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if !self.committed {
            self.run.end(Ended::Cancelled);
            // What is still held back belongs to what was said.
            self.end();
            let failed = self.ready.drain(..).find_map(Result::err);
            self.state.unsaid = failed;
        }
    }
}

/// Adds to a text; of one that gets too long only the newest half is kept. Returns whether
/// something was dropped.
fn keep_within(bytes_max: usize, text: &mut String, more: &str) -> bool {
    text.push_str(more);
    if text.len() <= bytes_max {
        return false;
    }
    let from = text.ceil_char_boundary(text.len() - bytes_max / 2);
    text.drain(..from);
    true
}
