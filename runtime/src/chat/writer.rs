//! A text written token by token: a session, how its tokens are chosen, and when it ends.

use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::error::Error;
use crate::plan::SessionOptions;
use crate::sample::{PENALTY_TOKENS, Sampler, SamplerOptions};
use crate::session::{Ended, Session};
use crate::text::{Opening, Stops, TextStream};

/// How texts are written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WriteOptions {
    /// The session.
    pub session: SessionOptions,
    /// How tokens are chosen.
    pub sampling: SamplerOptions,
    /// Most new tokens of a text; `None` for as many as there is room for.
    pub tokens_max: Option<usize>,
    /// Texts that end it, at most 8 of at most 64 bytes.
    pub stop: Vec<String>,
    /// Ends it from elsewhere.
    pub cancel: Cancel,
}

impl Default for WriteOptions {
    fn default() -> Self {
        let (session, sampling) = (SessionOptions::default(), SamplerOptions::default());
        Self { session, sampling, tokens_max: Some(512), stop: Vec::new(), cancel: Cancel::new() }
    }
}

impl WriteOptions {
    /// 512 tokens at most, the likeliest one each time.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the session.
    #[must_use]
    pub fn session(mut self, session: SessionOptions) -> Self {
        self.session = session;
        self
    }

    /// Sets how tokens are chosen.
    #[must_use]
    pub fn sampling(mut self, sampling: SamplerOptions) -> Self {
        self.sampling = sampling;
        self
    }

    /// Sets the most new tokens of a text; `None` for as many as there is room for.
    #[must_use]
    pub fn tokens_max(mut self, tokens_max: Option<usize>) -> Self {
        self.tokens_max = tokens_max;
        self
    }

    /// Adds texts that end it.
    #[must_use]
    pub fn stop<T: Into<String>>(mut self, stop: impl IntoIterator<Item = T>) -> Self {
        self.stop.extend(stop.into_iter().map(Into::into));
        self
    }

    /// Sets what ends it from elsewhere.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }
}

/// What a finished text took.
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

/// Continues texts: a session, and how its tokens are chosen.
///
/// ```no_run
/// use hardtack::text::Opening;
/// use hardtack::{Engine, Options, WriteOptions, Writer};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("model.tack", &Options::default())?;
/// let prompt = engine.tokenizer()?.prompt("Once upon a time")?;
/// let mut writer = Writer::new(&engine, &WriteOptions::new())?;
/// for text in writer.write(&prompt, Opening::Continuation)? {
///     print!("{}", text?);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Writer {
    engine: Engine,
    pen: Pen,
}

/// What a run moves forward.
#[derive(Debug)]
pub struct Pen {
    pub session: Session,
    pub sampler: Sampler,
    pub stops: Stops,
    pub cancel: Cancel,
    pub tokens_max: Option<usize>,
}

impl Pen {
    /// Starts a session.
    ///
    /// # Errors
    /// As [`Writer::new`].
    pub fn new(engine: &Engine, options: &WriteOptions) -> Result<Self, Error> {
        engine.tokenizer()?;
        let (sampler, stops) = (engine.sampler(options.sampling)?, Stops::new(&options.stop)?);
        let (cancel, tokens_max) = (options.cancel.clone(), options.tokens_max);
        Ok(Self { session: engine.session(&options.session)?, sampler, stops, cancel, tokens_max })
    }

    /// Tokens that a prompt may have, so that an answer of some length has room after it.
    pub fn prompt_max(&self) -> usize {
        let capacity = self.session.capacity();
        capacity - self.tokens_max.unwrap_or(usize::MAX).clamp(1, (capacity / 4).max(1))
    }
}

impl Writer {
    /// Starts a session: all its memory is allocated here.
    ///
    /// # Errors
    /// An option outside its range, or more memory than allowed or than the system has; or a blob
    /// without a tokenizer.
    pub fn new(engine: &Engine, options: &WriteOptions) -> Result<Self, Error> {
        Ok(Self { engine: engine.clone(), pen: Pen::new(engine, options)? })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.pen.session
    }

    /// Tokens that a prompt may have, so that an answer of some length has room after it.
    pub fn prompt_max(&self) -> usize {
        self.pen.prompt_max()
    }

    /// The sampler begins again with the first of the seed's numbers.
    pub fn restart(&mut self) {
        self.pen.sampler.restart();
    }

    /// Continues a prompt. What the session already holds of it is not computed again.
    ///
    /// # Errors
    /// The prompt is empty or does not fit the context, or has a token that the model does not
    /// have.
    pub fn write(&mut self, prompt: &[u32], opening: Opening) -> Result<Text<'_>, Error> {
        let Self { engine, pen } = self;
        let capacity = pen.session.capacity();
        if prompt.len() > capacity {
            return Err(Error::ContextFull { position: 0, more: prompt.len(), capacity });
        }
        let kept = pen.session.keep_common(prompt);
        let run = Run::new(pen, kept, prompt[kept..].to_vec())?;
        let stream = TextStream::new(engine.tokenizer()?.vocabulary(), opening, pen.stops.clone());
        Ok(Text { pen, stream, run, done: false })
    }
}

/// A text on its way: whole characters as they come, empty strings while the prompt is read.
pub struct Text<'w> {
    pen: &'w mut Pen,
    stream: TextStream<'w, Box<[u8]>>,
    run: Run,
    done: bool,
}

impl Text<'_> {
    /// What it took so far; after the end, why it ended.
    pub fn report(&self) -> Report {
        self.run.report()
    }
}

impl Iterator for Text<'_> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.run.step(self.pen) {
            Ok(Event::Read) => Some(Ok(String::new())),
            Ok(Event::Token(token)) => {
                let piece = self.stream.push(token);
                if piece.stop.is_some() {
                    self.run.end(Ended::Stopped);
                }
                Some(Ok(piece.text.to_owned()))
            }
            Ok(Event::End) => {
                self.done = true;
                Some(Ok(self.stream.finish().text.to_owned()))
            }
            Err(error) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }
}

/// A prompt and what follows it.
#[derive(Debug)]
pub struct Run {
    /// Tokens of the prompt that are not read yet.
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
    pub fn new(pen: &Pen, reused: usize, rest: Vec<u32>) -> Result<Self, Error> {
        if rest.is_empty() {
            let expected =
                "at least one token: this model has none to begin a text with".to_owned();
            return Err(Error::Setting { setting: "prompt", expected, found: "none".to_owned() });
        }
        let vocabulary = pen.session.engine().network().spec.vocabulary;
        if let Some(&token) = rest.iter().find(|&&token| token >= vocabulary) {
            return Err(Error::Token { token, vocabulary });
        }
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
        let start = Instant::now();
        Ok(Self {
            rest,
            read: 0,
            start,
            first: None,
            last: None,
            pending: None,
            report,
            ended: false,
        })
    }

    /// Reads a batch of the prompt, or makes a token.
    ///
    /// # Errors
    /// The context is full before the prompt is read, or the device fails. The run is over then.
    pub fn step(&mut self, pen: &mut Pen) -> Result<Event, Error> {
        if self.ended {
            return Ok(Event::End);
        }
        let done = self.advance(pen);
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
    pub fn progress(&self) -> (usize, usize) {
        (self.report.reused + self.read, self.report.prompt)
    }

    /// The last new token, if it was given out and is not in the session.
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
    pub fn note(&mut self, forgotten: usize, kept: bool) {
        (self.report.forgotten, self.report.kept) = (forgotten, kept);
    }

    /// What it took so far.
    pub fn report(&self) -> Report {
        let first_token = self.first.map_or(Duration::ZERO, |first| first - self.start);
        let rest = self.first.zip(self.last).map_or(Duration::ZERO, |(first, last)| last - first);
        Report { first_token, rest, ..self.report }
    }

    fn advance(&mut self, pen: &mut Pen) -> Result<Event, Error> {
        let Pen { session, sampler, cancel, tokens_max, .. } = pen;
        if tokens_max.is_some_and(|most| self.report.new >= most) {
            return Ok(self.end(Ended::Length));
        }
        if cancel.is_cancelled() {
            return Ok(self.end(Ended::Cancelled));
        }
        if !self.has_read() {
            let batch = (self.rest.len() - self.read).min(session.batch());
            if !session.read_unless(cancel, &self.rest[self.read..][..batch])? {
                return Ok(self.end(Ended::Cancelled));
            }
            self.read += batch;
            if self.has_read() {
                sampler.forget();
                let recent = session.tokens().len().saturating_sub(PENALTY_TOKENS);
                session.tokens()[recent..].iter().for_each(|&token| sampler.accept(token));
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
        if session.engine().tokenizer()?.is_end(token) {
            return Ok(self.end(Ended::Finished));
        }
        self.report.new += 1;
        self.pending = Some(token);
        Ok(Event::Token(token))
    }
}
