//! An answer, streamed as it is made: what a session already holds of the prompt is kept, the rest is fed.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hardtack::sample::PENALTY_TOKENS;
use hardtack::text::{Opening, Piece, Stops, TextStream, Tokenizer};
use hardtack::{Ended, Restored, Sampler, Session};

use crate::args::SamplingArguments;
use crate::{interrupt, model};

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The model ended it, or a stop string.
    Finished,
    /// As many tokens as were asked for.
    Length,
    /// Ctrl-C.
    Interrupted,
    /// No token more fits the context.
    ContextFull,
}

/// A finished answer.
pub struct Answer {
    pub text: String,
    pub tokens: usize,
    pub why: Why,
    /// Tokens of the prompt that were kept from before.
    pub reused: usize,
    /// From the call to the first new token.
    pub first_token: Duration,
    /// From the first new token to the last.
    pub rest: Duration,
}

/// Somebody who answers: a session, what it holds, and how it chooses.
pub struct Speaker<'a> {
    pub session: Session,
    tokenizer: &'a Tokenizer,
    sampler: Sampler,
    stops: Stops,
    tokens_max: usize,
    batch: usize,
    /// The tokens that the session holds.
    held: Vec<u32>,
}

impl<'a> Speaker<'a> {
    /// A speaker with an empty session.
    pub fn new(
        session: Session,
        tokenizer: &'a Tokenizer,
        sampling: &SamplingArguments,
        batch: usize,
    ) -> anyhow::Result<Self> {
        let sampler = model::sampler(session.engine(), sampling)?;
        let stops = Stops::new(&sampling.stop)?;
        Ok(Self {
            session,
            tokenizer,
            sampler,
            stops,
            tokens_max: sampling.max_tokens.or_max(),
            batch,
            held: Vec::new(),
        })
    }

    /// The tokens that the session holds.
    pub fn held(&self) -> &[u32] {
        &self.held
    }

    /// Writes the session into a file, with a note.
    pub fn save(&mut self, path: &Path, note: &[u8]) -> anyhow::Result<()> {
        Ok(self.session.save(path, &self.held, note)?)
    }

    /// Becomes the session of a file, and gives its note.
    pub fn restore(&mut self, path: &Path) -> anyhow::Result<Vec<u8>> {
        let Restored { tokens, note } = self.session.restore(path)?;
        self.held = tokens;
        Ok(note)
    }

    /// Tokens that a prompt may have, so that an answer of some length has room behind it.
    pub fn prompt_max(&self) -> usize {
        let capacity = self.session.capacity();
        capacity - self.tokens_max.clamp(1, (capacity / 4).max(1))
    }

    /// Whether a prompt fits the context at all.
    pub fn check(&self, prompt: &[u32]) -> anyhow::Result<()> {
        let (found, room) = (prompt.len(), self.session.capacity());
        ensure!(found <= room, "the prompt has {found} tokens, {room} fit the context");
        Ok(())
    }

    /// Begins anew, with the first of the seed's numbers.
    pub fn restart(&mut self) {
        self.sampler.restart();
    }

    /// Answers a prompt. `show` is given the text as it comes.
    pub fn answer(
        &mut self,
        prompt: &[u32],
        opening: Opening,
        mut show: impl FnMut(&str) -> io::Result<()> + Send,
    ) -> anyhow::Result<Answer> {
        let start = Instant::now();
        self.check(prompt)?;
        let reused = self.keep_common(prompt);
        let mut answer = Answer {
            text: String::new(),
            tokens: 0,
            why: Why::Finished,
            reused,
            first_token: Duration::ZERO,
            rest: Duration::ZERO,
        };
        if self.tokens_max == 0 {
            answer.why = Why::Length;
            return Ok(answer);
        }
        // All but the last piece is fed here, so that Ctrl-C is heard between pieces.
        let mut rest = &prompt[reused..];
        while rest.len() > self.batch {
            let (piece, after) = rest.split_at(self.batch);
            self.session.feed(piece)?;
            self.held.extend_from_slice(piece);
            rest = after;
            if interrupt::requested() {
                answer.why = Why::Interrupted;
                return Ok(answer);
            }
        }
        self.held.extend_from_slice(rest);
        self.sampler.forget();
        let recent = prompt.len().saturating_sub(PENALTY_TOKENS);
        prompt[recent..].iter().for_each(|&token| self.sampler.accept(token));

        let Self { session, tokenizer, sampler, stops, tokens_max, held, .. } = self;
        let mut stream = TextStream::new(tokenizer.vocabulary(), opening, stops.clone());
        let mut failure = None;
        let mut first = None;
        let ended = session.generate(rest, sampler, |token| {
            first.get_or_insert_with(Instant::now);
            if interrupt::requested() {
                answer.why = Why::Interrupted;
                return ControlFlow::Break(());
            }
            if tokenizer.is_end(token) {
                return ControlFlow::Break(());
            }
            answer.tokens += 1;
            let Piece { text, stop } = stream.push(token);
            answer.text.push_str(text);
            if let Err(error) = show(text) {
                failure = Some(error);
                return ControlFlow::Break(());
            }
            if stop.is_some() {
                return ControlFlow::Break(());
            }
            if answer.tokens == *tokens_max {
                answer.why = Why::Length;
                return ControlFlow::Break(());
            }
            held.push(token);
            ControlFlow::Continue(())
        })?;
        held.truncate(session.position());
        if ended == Ended::ContextFull {
            answer.why = Why::ContextFull;
        }
        let Piece { text, .. } = stream.finish();
        answer.text.push_str(text);
        if let Some(error) = failure {
            return Err(error.into());
        }
        show(text)?;
        let first = first.unwrap_or(start);
        answer.first_token = first - start;
        answer.rest = first.elapsed();
        Ok(answer)
    }

    /// Keeps what the session already holds of the prompt, but never all of it: its last token is fed anew for its logits.
    fn keep_common(&mut self, prompt: &[u32]) -> usize {
        let common = self.held.iter().zip(prompt).take_while(|(held, wanted)| held == wanted).count();
        let kept = common.min(prompt.len().saturating_sub(1));
        let kept = self.session.truncate(kept);
        self.held.truncate(kept);
        kept
    }
}
