//! A text written token by token: a session, how its tokens are chosen, and when it ends.

use std::fmt;

use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::error::Error;
use crate::generate::{Event, GenerateOptions, Report, Run};
use crate::options::SessionOptions;
use crate::sample::{Sampler, SamplerOptions};
use crate::session::{Ended, Session};
use crate::text::{Opening, Stops, TextStream};

/// How texts are written.
///
/// ```
/// use hardtack::{SamplerOptions, WriteOptions};
///
/// let sampling = SamplerOptions::new().temperature(0.7).seed(1);
/// let options = WriteOptions::new().sampling(sampling).tokens_max(Some(100)).stop(["\n\n"]);
/// ```
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

/// Continues texts: a session, and how its tokens are chosen.
///
/// ```
/// use hardtack::text::Opening;
/// use hardtack::{Engine, WriteOptions, Writer};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
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
    pub options: GenerateOptions,
}

impl Pen {
    /// Starts a session.
    ///
    /// # Errors
    /// As [`Writer::new`].
    pub fn new(engine: &Engine, options: &WriteOptions) -> Result<Self, Error> {
        let ends = engine.tokenizer()?.ends().to_vec();
        let (sampler, stops) = (engine.sampler(options.sampling)?, Stops::new(&options.stop)?);
        let session = engine.session(&options.session)?;
        let cancel = options.cancel.clone();
        let options =
            GenerateOptions { tokens_max: options.tokens_max, ends, cancel, top_tokens: None };
        Ok(Self { session, sampler, stops, options })
    }

    /// Tokens that a prompt may have, so that an answer of some length has room after it.
    pub fn prompt_max(&self) -> usize {
        let capacity = self.session.capacity();
        capacity - self.options.tokens_max.unwrap_or(usize::MAX).clamp(1, (capacity / 4).max(1))
    }

    /// Moves a run forward.
    pub fn step(&mut self, run: &mut Run) -> Result<Event, Error> {
        run.step(&mut self.session, &mut self.sampler, &self.options)
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

    /// How its tokens are chosen; [`Sampler::push_first`] adds a mask.
    pub fn sampler_mut(&mut self) -> &mut Sampler {
        &mut self.pen.sampler
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
        let run = Run::new(&pen.session, kept, prompt[kept..].to_vec())?;
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

impl fmt::Debug for Text<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Text").field("report", &self.report()).finish_non_exhaustive()
    }
}

impl Iterator for Text<'_> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.pen.step(&mut self.run) {
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
