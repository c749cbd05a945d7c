//! A conversation with a model: its cache, its buffers and its place in the text.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use crate::backend::Forward;
use crate::cache::size::KvSize;
use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::error::Error;
use crate::history::History;
use crate::memory::expect_room;
use crate::options::SessionOptions;
use crate::plan::Plan;
use crate::reserved::Reserved;
use crate::sample::{LogProbabilities, Sampler};
use crate::saved::{self, Content, Restored, Written};

/// Most tokens of a text, even in a ring.
pub const POSITIONS_MAX: usize = 1 << 31;

pub use crate::saved::NOTE_BYTES_MAX;

/// A conversation with a model in token ids: its cache, its scratch and its place in the text. All
/// its memory is its own and is allocated at the start.
///
/// ```
/// use hardtack::{Engine, SessionOptions};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// let mut session = engine.session(&SessionOptions::default())?;
/// let tokens = engine.tokenizer()?.prompt("A prefix")?;
/// let logits = session.feed(&tokens)?;
/// println!("{} logits follow the prefix", logits.len());
/// for one in session.log_probabilities()?.top(3) {
///     println!("token {}: {:.3}", one.token, one.log_probability);
/// }
///
/// // Two ways to go on.
/// let mut other = session.fork()?;
/// session.read(&[1])?;
/// other.read(&[2])?;
/// assert_eq!(session.tokens()[..tokens.len()], other.tokens()[..tokens.len()]);
///
/// // Back to the prefix: nothing of it is computed again.
/// assert_eq!(session.truncate(tokens.len()), tokens.len());
/// # Ok(()) }
/// ```
pub struct Session {
    engine: Engine,
    forward: Box<dyn Forward>,
    kv_size: KvSize,
    kv_bytes: u64,
    position: usize,
    /// The newest tokens: `history.first() + history.tokens().len() == position`, always.
    history: History,
    /// The position whose logits were made last.
    logits_at: Option<usize>,
    capacity: usize,
    batch: usize,
    /// What was asked for.
    options: SessionOptions,
    _reserved: Reserved,
}

impl Engine {
    /// Starts a session: all its memory is allocated here. [`Options::memory_max`] holds for all
    /// sessions of the engine together.
    ///
    /// # Errors
    /// An option outside its range, or more memory than allowed or than the system has.
    ///
    /// [`Options::memory_max`]: crate::Options::memory_max
    pub fn session(&self, options: &SessionOptions) -> Result<Session, Error> {
        let (plan, reserved) = self.reserve(options)?;
        Session::new(self.clone(), &plan, options, reserved)
    }
}

impl Session {
    fn new(
        engine: Engine,
        plan: &Plan,
        options: &SessionOptions,
        reserved: Reserved,
    ) -> Result<Self, Error> {
        // All at once and before any of it is touched: a promise that is broken halfway would cost
        // its first half.
        expect_room(plan.session_host_bytes())?;
        let forward = engine.backend().clone().session(plan)?;
        let capacity = match plan.kv {
            KvSize::F16(tokens) | KvSize::F32(tokens) => tokens,
            KvSize::Ring(_) => POSITIONS_MAX,
        };
        let (kv_size, kv_bytes, history) = (plan.kv, plan.kv_bytes, History::new(plan.kv)?);
        Ok(Self {
            engine,
            forward,
            kv_size,
            kv_bytes,
            position: 0,
            history,
            logits_at: None,
            capacity,
            batch: plan.batch,
            options: *options,
            _reserved: reserved,
        })
    }

    /// The model.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// How many keys and values are kept, and how.
    pub fn kv(&self) -> KvSize {
        self.kv_size
    }

    /// Bytes of keys and values.
    pub fn kv_bytes(&self) -> u64 {
        self.kv_bytes
    }

    /// Bits of what a ring holds in codes: layer, chunk of 64 tokens, bits of its keys and of its
    /// values.
    pub fn kv_levels(&self) -> impl Iterator<Item = (usize, usize, [u32; 2])> {
        self.forward.levels()
    }

    /// A second session that holds what this one does and goes on by itself: an answer in two
    /// ways, or one prefix for many prompts. It takes as much memory as this one. To go on, feed
    /// at least one token.
    ///
    /// # Errors
    /// As [`Engine::session`]: more memory than allowed or than the system has; or the device
    /// fails.
    pub fn fork(&mut self) -> Result<Self, Error> {
        let mut fork = self.engine.session(&self.options)?;
        fork.forward.copy_from(&mut *self.forward, self.position)?;
        fork.history.copy_from(&self.history);
        fork.position = self.position;
        Ok(fork)
    }

    /// Tokens of the text so far, those that a ring has forgotten included.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Tokens that the text may have: what an exact cache keeps, or [`POSITIONS_MAX`] for a ring.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The newest tokens of the text, the last one at [`Session::position`] - 1. An exact cache
    /// keeps all of them, a ring as many as it reaches back.
    pub fn tokens(&self) -> &[u32] {
        self.history.tokens()
    }

    /// The tokens from a position on, or `None` where some of them were dropped.
    pub fn tokens_since(&self, position: usize) -> Option<&[u32]> {
        self.history.since(position)
    }

    /// Tokens of a prompt that are processed at once.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Drops all tokens after the first `position`; returns how many remain. To go on from there,
    /// feed at least one token.
    ///
    /// A ring goes back only to what it was after exactly as many tokens: within the chunk of 64
    /// tokens that is open, to where an earlier chunk began as long as no chunk was demoted or
    /// forgotten since then, or to the first 64 tokens.
    pub fn truncate(&mut self, position: usize) -> usize {
        let remain = self.forward.truncate(self.position, position);
        self.now_at(remain);
        self.position
    }

    /// Keeps what the session already holds of a prompt, but never all of it: the last token is fed
    /// again for its logits. Returns how many tokens are kept.
    pub fn keep_common(&mut self, prompt: &[u32]) -> usize {
        self.truncate(self.history.common(prompt).min(prompt.len().saturating_sub(1)))
    }

    /// After the cache went back to a position, or lost everything.
    fn now_at(&mut self, position: usize) {
        self.position = position;
        if !self.history.truncate(position) {
            // What the text began with is no longer known, so no prompt can be compared with it.
            self.position = self.forward.truncate(position, 0);
            self.history.clear();
        }
    }

    /// Writes the session into a file, replacing it as a whole. A new file is readable by its owner
    /// only; one that is replaced keeps its mode, and a symbolic link stays one. `note` is the
    /// caller's and is returned as it is.
    ///
    /// # Errors
    /// The note is longer than [`NOTE_BYTES_MAX`], the file cannot be written, or the device fails.
    pub fn save(&mut self, path: impl AsRef<Path>, note: &[u8]) -> Result<(), Error> {
        saved::save(path.as_ref(), &mut self.content(), note, Written::Whole)
    }

    /// Becomes the session of a file: all its tokens are kept and none is computed again. To go on,
    /// feed at least one token.
    ///
    /// # Errors
    /// The file cannot be read or is damaged; or it is of another model or a cache that is kept in
    /// another way ([`Error::SavedElsewhere`]); or the device fails. The session is empty then.
    pub fn restore(&mut self, path: impl AsRef<Path>) -> Result<Restored, Error> {
        self.truncate(0);
        self.logits_at = None;
        let restored = saved::restore(path.as_ref(), &mut self.content());
        match &restored {
            Ok(_) => {
                self.position = self.history.first() + self.history.tokens().len();
            }
            // What was read of it is forgotten.
            Err(_) => {
                self.history.clear();
                self.position = 0;
                _ = self.forward.truncate(1, 0);
            }
        }
        restored
    }

    pub(crate) fn content(&mut self) -> Content<'_> {
        Content {
            model: self.engine.blob().header().root,
            vocabulary: self.engine.network().spec.vocabulary,
            size: self.kv_size,
            capacity: self.capacity,
            history: &mut self.history,
            forward: &mut *self.forward,
        }
    }

    /// Adds tokens and returns the logits `[vocabulary]` that follow the last of them; without
    /// tokens, the last logits again.
    ///
    /// # Errors
    /// A token the model does not have, or no more room, or no tokens and no logits either; nothing
    /// is added then. Or the device fails; [`Session::position`] says what is left.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<&[f32], Error> {
        self.check(tokens)?;
        self.add(tokens, None)?;
        self.forward.logits()
    }

    /// Adds tokens and calls `visit(index, logits)` with the logits that follow each of them.
    ///
    /// # Errors
    /// As [`Session::feed`].
    pub fn feed_each(
        &mut self,
        tokens: &[u32],
        mut visit: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        self.check(tokens)?;
        self.add_each(tokens, |forward, index, at| {
            forward.make_logits(index)?;
            visit(at, forward.logits()?);
            Ok(())
        })?;
        self.logits_at = Some(self.position);
        Ok(())
    }

    /// Adds tokens. [`Session::choose`] then says what follows them.
    ///
    /// # Errors
    /// As [`Session::feed`].
    pub fn read(&mut self, tokens: &[u32]) -> Result<(), Error> {
        self.check(tokens)?;
        self.add(tokens, None).map(drop)
    }

    /// As [`Session::read`], but ends early, with `false`, once it is cancelled. The batch under
    /// way is dropped whole and those before it are kept: [`Session::position`] says how far it
    /// came.
    ///
    /// On the processor the request is heard between two layers; over a ring only where the batch
    /// begins no chunk of 64 tokens, as a ring cannot be brought back from that. Otherwise, and on
    /// a device, it is heard after the batch.
    ///
    /// # Errors
    /// As [`Session::feed`].
    pub fn read_unless(&mut self, cancel: &Cancel, tokens: &[u32]) -> Result<bool, Error> {
        self.check(tokens)?;
        self.add(tokens, Some(cancel))
    }

    /// The sampler's choice of the token that follows the last one that was fed. The token is not
    /// added.
    ///
    /// # Errors
    /// Nothing was fed yet, or the sampler's filters leave no token, or the device fails.
    pub fn choose(&mut self, sampler: &mut Sampler) -> Result<u32, Error> {
        self.check(&[])?;
        self.forward.choose(sampler, self.history.tokens())
    }

    /// What the model says of every token that may follow the last one that was fed.
    ///
    /// # Errors
    /// Nothing was fed yet, or the device fails.
    pub fn log_probabilities(&mut self) -> Result<LogProbabilities<'_>, Error> {
        self.check(&[])?;
        Ok(LogProbabilities::of_logits(self.forward.logits()?))
    }

    /// Adds tokens and calls `visit(index, hidden)` with the last hidden state `[hidden]` of each
    /// of them, after the final norm.
    ///
    /// # Errors
    /// As [`Session::feed`], or the model runs on a device, which returns no hidden states.
    pub fn feed_hidden(
        &mut self,
        tokens: &[u32],
        mut visit: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        self.check(tokens)?;
        self.add_each(tokens, |forward, index, at| {
            visit(at, forward.hidden(index)?);
            Ok(())
        })
    }

    /// Adds `prompt`, then tokens of the sampler's choice until `accept` breaks or the context is
    /// full. `accept` is given every new token; the one it breaks at is not kept.
    ///
    /// # Errors
    /// As [`Session::feed`].
    pub fn generate(
        &mut self,
        prompt: &[u32],
        sampler: &mut Sampler,
        mut accept: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Ended, Error> {
        self.check(prompt)?;
        self.add(prompt, None)?;
        loop {
            let token = self.forward.choose(sampler, self.history.tokens())?;
            if accept(token).is_break() {
                return Ok(Ended::Stopped);
            }
            if self.position == self.capacity {
                return Ok(Ended::ContextFull);
            }
            sampler.accept(token);
            self.add(&[token], None)?;
        }
    }

    /// Adds tokens, batch after batch, and makes the logits that follow the last of them; `false`
    /// if it was cancelled before.
    fn add(&mut self, tokens: &[u32], cancel: Option<&Cancel>) -> Result<bool, Error> {
        let mut rest = tokens;
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(self.batch_of(rest));
            let ran = self.forward.run(self.position, batch, cancel);
            if !self.note(batch, ran)? {
                return Ok(false);
            }
            if others.is_empty() {
                self.forward.make_logits(batch.len() - 1)?;
                self.logits_at = Some(self.position);
            } else if cancel.is_some_and(Cancel::is_cancelled) {
                return Ok(false);
            }
            rest = others;
        }
        Ok(true)
    }

    /// Adds tokens, batch after batch, and calls `visit(forward, index, at)` for each of them: its
    /// place in its batch, which was the last one to run, and in `tokens`.
    fn add_each(
        &mut self,
        tokens: &[u32],
        mut visit: impl FnMut(&mut dyn Forward, usize, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut done = 0;
        while done < tokens.len() {
            let batch = &tokens[done..][..self.batch_of(&tokens[done..])];
            let ran = self.forward.run(self.position, batch, None);
            self.note(batch, ran)?;
            for index in 0..batch.len() {
                visit(&mut *self.forward, index, done + index)?;
            }
            done += batch.len();
        }
        Ok(())
    }

    /// How many of the tokens are the next batch.
    fn batch_of(&self, tokens: &[u32]) -> usize {
        tokens.len().min(self.batch).min(self.forward.batch_max(self.position))
    }

    /// Notes that a batch ran, or what is left after it failed. One that was cancelled changes
    /// nothing.
    fn note(&mut self, batch: &[u32], ran: Result<bool, Error>) -> Result<bool, Error> {
        match ran {
            Ok(true) => {
                self.logits_at = None;
                self.position += batch.len();
                self.history.push(batch);
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(error) => {
                self.logits_at = None;
                // What a device keeps may be gone.
                let remain = self.forward.truncate(self.position, self.position);
                self.now_at(remain);
                Err(error)
            }
        }
    }

    pub(crate) fn check(&self, tokens: &[u32]) -> Result<(), Error> {
        let vocabulary = self.engine.network().spec.vocabulary;
        if let Some(&token) = tokens.iter().find(|&&token| token >= vocabulary) {
            return Err(Error::Token { token, vocabulary });
        }
        if tokens.is_empty() && self.logits_at != Some(self.position) {
            let expected = "at least one token".to_owned();
            return Err(Error::Setting { setting: "tokens", expected, found: "none".to_owned() });
        }
        if tokens.len() > self.capacity - self.position {
            let (position, more, capacity) = (self.position, tokens.len(), self.capacity);
            return Err(Error::ContextFull { position, more, capacity });
        }
        Ok(())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Session")
            .field("engine", &self.engine)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Why a text ended.
///
/// ```
/// use hardtack::{ChatOptions, Ended, Engine};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// let mut chat = engine.chat(ChatOptions::new())?;
/// chat.ask("Hello")?.text()?;
/// let ended = match chat.report().map(|report| report.ended) {
///     Some(Ended::Length) => "it is not finished",
///     Some(Ended::Cancelled) => "somebody had enough",
///     _ => "that is all",
/// };
/// assert_eq!(ended, "that is all");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The model ended it.
    Finished,
    /// The caller stopped it, or a stop string.
    Stopped,
    /// As many tokens as were asked for.
    Length,
    /// A [`Cancel`] asked for it.
    Cancelled,
    /// No token more fits.
    ContextFull,
}
