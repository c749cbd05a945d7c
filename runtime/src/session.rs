//! A conversation with a model: its cache, its buffers and its place in the text.

use std::ops::ControlFlow;
use std::path::Path;

use crate::engine::Engine;
use crate::error::Error;
use crate::kv::KvSize;
use crate::plan::Plan;
use crate::sample::Sampler;
use crate::saved::{self, Content, Restored};
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
    /// The position whose logits were made last.
    logits_at: Option<usize>,
    capacity: usize,
    batch: usize,
}

impl Session {
    pub(crate) fn new(engine: Engine, plan: &Plan) -> Result<Self, Error> {
        let state = State::new(&engine, plan)?;
        let capacity = match plan.kv {
            KvSize::F16(tokens) | KvSize::F32(tokens) => tokens,
            KvSize::Ring(_) => POSITIONS_MAX,
        };
        let batch = plan.buffers.batch();
        let (kv_size, kv_bytes) = (plan.kv, plan.kv_bytes);
        Ok(Self { engine, state, kv_size, kv_bytes, position: 0, logits_at: None, capacity, batch })
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

    /// Bits of what a ring holds in codes: layer, chunk of 64 tokens, bits of its keys and of its values.
    pub fn kv_levels(&self) -> impl Iterator<Item = (usize, usize, [u32; 2])> {
        self.state.levels()
    }

    /// Tokens of the text so far, those that a ring has forgotten included.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Tokens that the text may have: what an exact cache keeps, or [`POSITIONS_MAX`] for a ring.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets everything behind the first `position` tokens, and gives how many are left. To go on from there, feed at
    /// least one token.
    ///
    /// A ring goes back only to what it was after just so many tokens: within the chunk of 64 tokens that is open, to where
    /// an earlier chunk began as long as nothing was demoted or forgotten since then, or to the first 64 tokens.
    pub fn truncate(&mut self, position: usize) -> usize {
        self.position = self.state.truncate(self.position, position);
        self.position
    }

    /// Writes the session into a file. `tokens` are those that it holds; `note` is the caller's and comes back as it is.
    ///
    /// # Errors
    /// What the system says of the file, or the device fails.
    ///
    /// # Panics
    /// If the tokens are not as many as the session has, or the note is longer than 16 MiB.
    pub fn save(&mut self, path: impl AsRef<Path>, tokens: &[u32], note: &[u8]) -> Result<(), Error> {
        assert_eq!(tokens.len(), self.position, "the session's tokens");
        assert!(note.len() <= NOTE_BYTES_MAX, "the note");
        let mut session = Restored { tokens: tokens.to_vec(), note: note.to_vec() };
        let model = self.engine.blob().header().root;
        saved::save(path.as_ref(), self.content(&model), &mut session)
    }

    /// Becomes the session of a file, and gives its tokens and note: all tokens are kept, none is computed again. To go on from
    /// there, feed at least one token.
    ///
    /// # Errors
    /// The file cannot be read, is of another model or of a cache that is kept in another way, or is damaged; or the
    /// device fails. The session is empty then.
    pub fn restore(&mut self, path: impl AsRef<Path>) -> Result<Restored, Error> {
        self.truncate(0);
        self.logits_at = None;
        let model = self.engine.blob().header().root;
        let restored = saved::restore(path.as_ref(), self.content(&model));
        match &restored {
            Ok(session) => self.position = session.tokens.len(),
            // What was read of it is forgotten.
            Err(_) => _ = self.state.truncate(1, 0),
        }
        restored
    }

    fn content<'a>(&'a mut self, model: &'a [u8; 32]) -> Content<'a> {
        let vocabulary = self.engine.network().spec.vocabulary;
        Content { model, vocabulary, size: self.kv_size, capacity: self.capacity, state: &mut self.state }
    }

    /// Adds tokens and gives the logits `[vocabulary]` that follow the last of them; without tokens, the last logits again.
    ///
    /// # Errors
    /// A token the model does not have, or no more room, or no tokens and no logits either; nothing is added then. Or the
    /// device fails; [`Session::position`] says what is left.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<&[f32], Error> {
        self.check(tokens)?;
        self.feed_here(tokens)?;
        self.state.logits()
    }

    /// Adds tokens and calls `visit(index, logits)` with the logits that follow each of them.
    ///
    /// # Errors
    /// As [`Session::feed`].
    pub fn feed_each(&mut self, tokens: &[u32], mut visit: impl FnMut(usize, &[f32])) -> Result<(), Error> {
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

    /// Adds `prompt`, then tokens of the sampler's choice until `accept` breaks or the context is full. `accept` is given
    /// every new token; the one it breaks at is not kept.
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
            let token = self.state.choose(sampler)?;
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
        let passed = self.state.run(&self.engine, self.position, tokens);
        self.position = match passed {
            Ok(()) => self.position + tokens.len(),
            // What a device keeps may be gone.
            Err(_) => self.state.truncate(self.position, self.position),
        };
        passed
    }

    fn check(&self, tokens: &[u32]) -> Result<(), Error> {
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

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The caller stopped it.
    Stopped,
    /// No token more fits.
    ContextFull,
}
