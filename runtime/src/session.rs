//! A conversation with a model: its cache, its buffers and its place in the text.

use std::ops::ControlFlow;

use crate::engine::Engine;
use crate::error::Error;
use crate::forward::{self, Step};
use crate::kv::Kv;
use crate::plan::Plan;
use crate::sample::Sampler;
use crate::scratch::Scratch;

/// A session. All its memory is its own and is allocated at the start.
pub struct Session {
    engine: Engine,
    kv: Kv,
    scratch: Scratch,
    position: usize,
    /// The position whose logits are in the scratch.
    logits_at: Option<usize>,
    capacity: usize,
    batch: usize,
}

impl Session {
    pub(crate) fn new(engine: Engine, plan: &Plan) -> Result<Self, Error> {
        let layers = engine.network().spec.layers.iter().map(|layer| &layer.attention);
        let kv = Kv::new(layers, plan.context, plan.kv)?;
        let scratch = Scratch::new(&plan.scratch)?;
        let (capacity, batch) = (plan.context, plan.scratch.batch);
        Ok(Self { engine, kv, scratch, position: 0, logits_at: None, capacity, batch })
    }

    /// The model.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Tokens kept so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Tokens that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets everything behind the first `position` tokens. To go on from there, feed at least one token.
    pub fn truncate(&mut self, position: usize) {
        self.position = self.position.min(position);
    }

    /// Adds tokens and gives the logits `[vocabulary]` that follow the last of them; without tokens, the last logits again.
    ///
    /// # Errors
    /// A token the model does not have, or no more room, or no tokens and no logits either; nothing is added then.
    ///
    /// Called from outside [`Engine::install`], each call hands over to the engine's threads, which allocates now and then: a
    /// loop of one's own belongs inside `install`.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<&[f32], Error> {
        self.check(tokens)?;
        let engine = self.engine.clone();
        engine.install(|| self.feed_here(tokens));
        Ok(&self.scratch.logits)
    }

    /// Adds tokens and calls `visit(index, logits)` with the logits that follow each of them.
    ///
    /// # Errors
    /// As [`Session::feed`].
    pub fn feed_each(&mut self, tokens: &[u32], mut visit: impl FnMut(usize, &[f32]) + Send) -> Result<(), Error> {
        self.check(tokens)?;
        let engine = self.engine.clone();
        engine.install(|| {
            let mut done = 0;
            for piece in tokens.chunks(self.batch) {
                self.pass(piece, piece.len(), |index, logits| visit(done + index, logits));
                done += piece.len();
            }
        });
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
        mut accept: impl FnMut(u32) -> ControlFlow<()> + Send,
    ) -> Result<Ended, Error> {
        self.check(prompt)?;
        let engine = self.engine.clone();
        engine.install(|| {
            self.feed_here(prompt);
            loop {
                let token = sampler.sample(&self.scratch.logits);
                if accept(token).is_break() {
                    return Ok(Ended::Stopped);
                }
                if self.position == self.capacity {
                    return Ok(Ended::ContextFull);
                }
                sampler.accept(token);
                self.feed_here(&[token]);
            }
        })
    }

    fn feed_here(&mut self, tokens: &[u32]) {
        for (index, piece) in tokens.chunks(self.batch).enumerate() {
            let wanted = usize::from((index + 1) * self.batch >= tokens.len());
            self.pass(piece, wanted, |_, _| ());
        }
    }

    /// One pass over at most a batch of tokens. Logits are computed for the last `wanted` of them.
    fn pass(&mut self, tokens: &[u32], wanted: usize, mut visit: impl FnMut(usize, &[f32])) {
        let mut step = Step {
            network: self.engine.network(),
            cpu: self.engine.cpu(),
            scratch: &mut self.scratch,
            position: self.position,
            tokens: tokens.len(),
        };
        forward::run(&mut step, &mut self.kv, tokens);
        for index in tokens.len() - wanted..tokens.len() {
            forward::logits(&mut step, index);
            visit(index, &step.scratch.logits);
        }
        self.position += tokens.len();
        self.logits_at = (wanted > 0).then_some(self.position);
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
