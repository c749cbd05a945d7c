//! Tokens, one after another: a prompt is read batch by batch, then each token is chosen and fed.

use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::error::Error;
use crate::sample::{LogProbability, Sampler};
use crate::session::{Ended, Session};

/// What ends a [`Generator`], and what it says of its tokens.
///
/// ```
/// let options = hardtack::GenerateOptions::new().tokens_max(100).ends([2]).top_tokens(5);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GenerateOptions {
    /// Most new tokens; `None` for as many as there is room for.
    pub tokens_max: Option<usize>,
    /// Tokens that end the text and are not given out.
    pub ends: Vec<u32>,
    /// Ends it from elsewhere.
    pub cancel: Cancel,
    /// How many of the likeliest tokens are listed beside each new one, with their
    /// log-probabilities and its own; `None` for no log-probabilities at all.
    pub top_tokens: Option<usize>,
}

impl GenerateOptions {
    /// Goes on until the context is full.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most new tokens.
    #[must_use]
    pub fn tokens_max(mut self, tokens_max: usize) -> Self {
        self.tokens_max = Some(tokens_max);
        self
    }

    /// Adds tokens that end the text.
    #[must_use]
    pub fn ends(mut self, ends: impl IntoIterator<Item = u32>) -> Self {
        self.ends.extend(ends);
        self
    }

    /// Sets what ends it from elsewhere.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Asks for log-probabilities, and for those of the `count` likeliest tokens.
    #[must_use]
    pub fn top_tokens(mut self, count: usize) -> Self {
        self.top_tokens = Some(count);
        self
    }
}

/// A new token.
///
/// ```
/// use hardtack::{Engine, GenerateOptions, SamplerOptions, SessionOptions};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// let mut session = engine.session(&SessionOptions::default())?;
/// let mut sampler = engine.sampler(SamplerOptions::new())?;
/// let options = GenerateOptions::new().tokens_max(1).top_tokens(2);
/// for token in session.generator(&[104, 105], &mut sampler, options)? {
///     let token = token?;
///     // The likeliest token was taken.
///     assert_eq!((token.top.len(), token.top[0].token), (2, token.id));
///     assert_eq!(token.log_probability, Some(token.top[0].log_probability));
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its log-probability before any filter, where [`GenerateOptions::top_tokens`] asked for it.
    pub log_probability: Option<f32>,
    /// The likeliest tokens, the likeliest first.
    pub top: Vec<LogProbability>,
}

/// What a finished text took.
///
/// ```
/// use hardtack::{ChatOptions, Engine};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// let mut chat = engine.chat(ChatOptions::new())?;
/// chat.ask("Hello")?.text()?;
/// let report = chat.report().expect("there was an answer");
/// println!(
///     "{} tokens read, {} of them known before; {} new ones, the first after {:?}",
///     report.prompt, report.reused, report.new, report.first_token,
/// );
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Why it ended.
    pub ended: Ended,
    /// Tokens of the prompt, those that were kept from before included.
    pub prompt: usize,
    /// Tokens that were kept from before.
    pub reused: usize,
    /// New tokens.
    pub new: usize,
    /// From the start to the first new token.
    pub first_token: Duration,
    /// From the first new token to the last.
    pub rest: Duration,
    /// Turns of a conversation that were forgotten so that the prompt fits.
    pub forgotten: usize,
    /// Whether the conversation has the message and its answer; a message that was cancelled
    /// before the answer began is not kept.
    pub kept: bool,
}

/// An iterator over the tokens that a session produces: [`Session::generator`].
///
/// ```
/// use hardtack::{Ended, Engine, GenerateOptions, SamplerOptions, SessionOptions};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// let mut session = engine.session(&SessionOptions::default())?;
/// let mut sampler = engine.sampler(SamplerOptions::new())?;
/// let options = GenerateOptions::new().ends(engine.tokenizer()?.ends().iter().copied());
/// let mut generator = session.generator(&[104, 105], &mut sampler, options)?;
/// for token in &mut generator {
///     print!("{} ", token?.id);
/// }
/// assert_eq!(generator.report().ended, Ended::Finished);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Generator<'s> {
    session: &'s mut Session,
    sampler: &'s mut Sampler,
    options: GenerateOptions,
    run: Run,
}

impl Session {
    /// Adds `prompt` to what the session holds, then returns tokens of the sampler's choice.
    /// Without a prompt it goes on after the last logits.
    ///
    /// Nothing is computed before `next`. The last token that was given out is not fed: the
    /// session does not hold it yet.
    ///
    /// # Errors
    /// A token the model does not have, or no room for the prompt, or neither prompt nor logits.
    ///
    /// ```
    /// use hardtack::{Engine, GenerateOptions, SamplerOptions, SessionOptions};
    ///
    /// # fn main() -> Result<(), hardtack::Error> {
    /// let engine = Engine::open("tests/data/tiny.tack")?;
    /// let mut session = engine.session(&SessionOptions::default())?;
    /// let mut sampler = engine.sampler(SamplerOptions::new())?;
    /// let prompt = engine.tokenizer()?.prompt("Once upon a time")?;
    /// let generator = session.generator(&prompt, &mut sampler, GenerateOptions::new())?;
    /// let tokens: Vec<_> = generator.take(8).collect::<Result<_, _>>()?;
    /// assert_eq!(tokens.len(), 8);
    /// # Ok(()) }
    /// ```
    pub fn generator<'s>(
        &'s mut self,
        prompt: &[u32],
        sampler: &'s mut Sampler,
        options: GenerateOptions,
    ) -> Result<Generator<'s>, Error> {
        self.check(prompt)?;
        let run = Run::after(self.position(), prompt.to_vec());
        if prompt.is_empty() {
            sampler.begin(self.tokens());
        }
        Ok(Generator { session: self, sampler, options, run })
    }
}

impl Generator<'_> {
    /// What it took so far; after the end, why it ended.
    pub fn report(&self) -> Report {
        self.run.report()
    }

    /// The session.
    pub fn session(&self) -> &Session {
        self.session
    }

    fn token(&mut self, id: u32) -> Result<Token, Error> {
        let Some(count) = self.options.top_tokens else {
            return Ok(Token { id, log_probability: None, top: Vec::new() });
        };
        let all = self.session.log_probabilities()?;
        Ok(Token { id, log_probability: all.of(id), top: all.top(count) })
    }
}

impl Iterator for Generator<'_> {
    type Item = Result<Token, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.run.step(self.session, self.sampler, &self.options) {
                Ok(Event::Read) => {}
                Ok(Event::Token(id)) => return Some(self.token(id)),
                Ok(Event::End) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// A prompt and what follows it.
#[derive(Debug)]
pub struct Run {
    /// Tokens of the prompt that are not kept from before.
    rest: Vec<u32>,
    read: usize,
    start: Instant,
    first: Option<Instant>,
    last: Option<Instant>,
    /// The last new token, which is not in the session yet.
    pending: Option<u32>,
    report: Report,
    ended: bool,
}

/// What a step of a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A batch of the prompt was read.
    Read,
    /// A new token.
    Token(u32),
    /// It is over.
    End,
}

impl Run {
    /// Goes on after the tokens that the session holds.
    ///
    /// # Errors
    /// There is no token to go on with, or one that the model does not have.
    #[cfg_attr(not(feature = "text"), allow(dead_code, reason = "texts are written with it"))]
    pub fn new(session: &Session, reused: usize, rest: Vec<u32>) -> Result<Self, Error> {
        if rest.is_empty() {
            let expected =
                "at least one token: this model has none to begin a text with".to_owned();
            return Err(Error::Setting { setting: "prompt", expected, found: "none".to_owned() });
        }
        let vocabulary = session.engine().network().spec.vocabulary;
        if let Some(&token) = rest.iter().find(|&&token| token >= vocabulary) {
            return Err(Error::Token { token, vocabulary });
        }
        Ok(Self::after(reused, rest))
    }

    fn after(reused: usize, rest: Vec<u32>) -> Self {
        let report = Report {
            ended: Ended::Finished,
            prompt: reused + rest.len(),
            reused,
            new: 0,
            first_token: Duration::ZERO,
            rest: Duration::ZERO,
            forgotten: 0,
            kept: true,
        };
        let (start, first, last) = (Instant::now(), None, None);
        Self { rest, read: 0, start, first, last, pending: None, report, ended: false }
    }

    /// Reads a batch of the prompt, or makes a token.
    ///
    /// # Errors
    /// The context is full before the prompt is read, the sampler's filters leave no token, or the
    /// device fails. The run is over then.
    pub fn step(
        &mut self,
        session: &mut Session,
        sampler: &mut Sampler,
        options: &GenerateOptions,
    ) -> Result<Event, Error> {
        if self.ended {
            return Ok(Event::End);
        }
        let done = self.advance(session, sampler, options);
        if done.is_err() {
            self.ended = true;
        }
        done
    }

    /// The prompt was read to its end.
    pub fn has_read(&self) -> bool {
        self.read == self.rest.len()
    }

    /// Tokens of the prompt that are read, and all of them.
    #[cfg(feature = "text")]
    pub fn progress(&self) -> (usize, usize) {
        (self.report.reused + self.read, self.report.prompt)
    }

    /// The last new token, if it was given out and is not in the session.
    #[cfg(feature = "text")]
    pub fn pending(&self) -> Option<u32> {
        self.pending
    }

    /// Ends it.
    pub fn end(&mut self, ended: Ended) -> Event {
        if !self.ended {
            (self.ended, self.report.ended) = (true, ended);
        }
        Event::End
    }

    /// What the conversation adds to the report.
    #[cfg(feature = "text")]
    pub fn note(&mut self, forgotten: usize, kept: bool) {
        (self.report.forgotten, self.report.kept) = (forgotten, kept);
    }

    /// What it took so far.
    pub fn report(&self) -> Report {
        let first_token = self.first.map_or(Duration::ZERO, |first| first - self.start);
        let rest = self.first.zip(self.last).map_or(Duration::ZERO, |(first, last)| last - first);
        Report { first_token, rest, ..self.report }
    }

    fn advance(
        &mut self,
        session: &mut Session,
        sampler: &mut Sampler,
        options: &GenerateOptions,
    ) -> Result<Event, Error> {
        if options.tokens_max.is_some_and(|most| self.report.new >= most) {
            return Ok(self.end(Ended::Length));
        }
        if options.cancel.is_cancelled() {
            return Ok(self.end(Ended::Cancelled));
        }
        if !self.has_read() {
            let batch = (self.rest.len() - self.read).min(session.batch());
            if !session.read_unless(&options.cancel, &self.rest[self.read..][..batch])? {
                return Ok(self.end(Ended::Cancelled));
            }
            self.read += batch;
            if self.has_read() {
                sampler.begin(session.tokens());
            }
            return Ok(Event::Read);
        }
        if let Some(token) = self.pending {
            if session.position() == session.capacity() {
                return Ok(self.end(Ended::ContextFull));
            }
            session.read(&[token])?;
            sampler.accept(token);
            self.pending = None;
        }
        let token = session.choose(sampler)?;
        self.last = Some(Instant::now());
        self.first = self.first.or(self.last);
        if options.ends.contains(&token) {
            return Ok(self.end(Ended::Finished));
        }
        self.report.new += 1;
        self.pending = Some(token);
        Ok(Event::Token(token))
    }
}
