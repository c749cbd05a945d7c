//! A conversation with a model: its cache, its buffers and its place in the text.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use crate::cache::KvSize;
use crate::engine::Engine;
use crate::error::Error;
use crate::history::History;
use crate::plan::{Plan, SessionOptions};
use crate::reserved::Reserved;
use crate::sample::{LogProbabilities, Sampler};
use crate::saved::{self, Content, Restored, Written};
use crate::state::State;

/// Most tokens of a text, even in a ring.
pub const POSITIONS_MAX: usize = 1 << 31;

pub use crate::saved::NOTE_BYTES_MAX;

/// A session. All its memory is its own and is allocated at the start.
pub struct Session {
    engine: Engine,
    state: State,
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

impl Session {
    pub(crate) fn new(
        engine: Engine,
        plan: &Plan,
        options: &SessionOptions,
        reserved: Reserved,
    ) -> Result<Self, Error> {
        let state = State::new(&engine, plan)?;
        let capacity = match plan.kv {
            KvSize::F16(tokens) | KvSize::F32(tokens) => tokens,
            KvSize::Ring(_) => POSITIONS_MAX,
        };
        let batch = plan.buffers.batch();
        let (kv_size, kv_bytes, history) = (plan.kv, plan.kv_bytes, History::new(plan.kv)?);
        Ok(Self {
            engine,
            state,
            kv_size,
            kv_bytes,
            position: 0,
            history,
            logits_at: None,
            capacity,
            batch,
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
        self.state.levels()
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
        fork.state.copy_from(&mut self.state, self.position)?;
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
    /// A ring goes back only to what it was after just so many tokens: within the chunk of 64
    /// tokens that is open, to where an earlier chunk began as long as nothing was demoted or
    /// forgotten since then, or to the first 64 tokens.
    pub fn truncate(&mut self, position: usize) -> usize {
        let remain = self.state.truncate(self.position, position);
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
            // What the text began with is no longer known, so nothing can be compared with it.
            self.position = self.state.truncate(position, 0);
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
                _ = self.state.truncate(1, 0);
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
            state: &mut self.state,
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
        self.feed_here(tokens)?;
        self.state.logits()
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
        let mut done = 0;
        while done < tokens.len() {
            let piece = self.piece(&tokens[done..]);
            self.run(piece)?;
            for index in 0..piece.len() {
                self.state.make_logits(&self.engine, index)?;
                visit(done + index, self.state.logits()?);
            }
            self.logits_at = Some(self.position);
            done += piece.len();
        }
        Ok(())
    }

    /// Adds tokens. [`Session::choose`] then says what follows them.
    ///
    /// # Errors
    /// As [`Session::feed`].
    pub fn read(&mut self, tokens: &[u32]) -> Result<(), Error> {
        self.check(tokens)?;
        self.feed_here(tokens)
    }

    /// The sampler's choice of the token that follows the last one that was fed. The token is not
    /// added.
    ///
    /// # Errors
    /// Nothing was fed yet, or the sampler's filters leave no token, or the device fails.
    pub fn choose(&mut self, sampler: &mut Sampler) -> Result<u32, Error> {
        self.check(&[])?;
        self.state.choose(sampler, self.history.tokens())
    }

    /// What the model says of every token that may follow the last one that was fed.
    ///
    /// # Errors
    /// Nothing was fed yet, or the device fails.
    pub fn log_probabilities(&mut self) -> Result<LogProbabilities<'_>, Error> {
        self.check(&[])?;
        Ok(LogProbabilities::of_logits(self.state.logits()?))
    }

    /// Adds tokens and calls `visit(index, hidden)` with the last hidden state `[hidden]` of each of
    /// them, after the final norm.
    ///
    /// # Errors
    /// As [`Session::feed`], or the model runs on a device, which gives no hidden states.
    pub fn feed_hidden(
        &mut self,
        tokens: &[u32],
        mut visit: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        self.check(tokens)?;
        let mut done = 0;
        while done < tokens.len() {
            let piece = self.piece(&tokens[done..]);
            self.run(piece)?;
            for index in 0..piece.len() {
                visit(done + index, self.state.hidden(&self.engine, index)?);
            }
            done += piece.len();
        }
        Ok(())
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
        self.feed_here(prompt)?;
        loop {
            let token = self.state.choose(sampler, self.history.tokens())?;
            if accept(token).is_break() {
                return Ok(Ended::Stopped);
            }
            if self.position == self.capacity {
                return Ok(Ended::ContextFull);
            }
            sampler.accept(token);
            self.feed_here(&[token])?;
        }
    }

    /// Adds tokens and makes the logits that follow the last of them.
    fn feed_here(&mut self, tokens: &[u32]) -> Result<(), Error> {
        let (mut rest, mut last) = (tokens, None);
        while !rest.is_empty() {
            let piece = self.piece(rest);
            self.run(piece)?;
            (rest, last) = (&rest[piece.len()..], Some(piece.len() - 1));
        }
        if let Some(last) = last {
            self.state.make_logits(&self.engine, last)?;
            self.logits_at = Some(self.position);
        }
        Ok(())
    }

    /// The first tokens, as many as pass together.
    fn piece<'t>(&self, tokens: &'t [u32]) -> &'t [u32] {
        &tokens[..tokens.len().min(self.batch).min(self.state.pass_max(self.position))]
    }

    /// One pass over the tokens of a piece.
    fn run(&mut self, tokens: &[u32]) -> Result<(), Error> {
        self.logits_at = None;
        match self.state.run(&self.engine, self.position, tokens) {
            Ok(()) => {
                self.position += tokens.len();
                self.history.push(tokens);
                Ok(())
            }
            Err(error) => {
                // What a device keeps may be gone.
                let remain = self.state.truncate(self.position, self.position);
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The model ended it.
    Finished,
    /// The caller stopped it, or a stop string.
    Stopped,
    /// As many tokens as were asked for.
    Length,
    /// A [`Cancel`](crate::Cancel) asked for it.
    Cancelled,
    /// No token more fits.
    ContextFull,
}
