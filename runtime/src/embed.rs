//! Texts as vectors: the last hidden state of a model, pooled over a text's tokens.

use crate::engine::Engine;
use crate::error::Error;
use crate::options::SessionOptions;
use crate::session::Session;

/// Which hidden states of a text become its vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pooling {
    /// The mean of all.
    #[default]
    Mean,
    /// That of the last token, which has seen all others.
    Last,
}

/// How texts become vectors.
///
/// ```
/// use hardtack::{EmbedOptions, Pooling};
///
/// let options = EmbedOptions::new().pooling(Pooling::Last).normalize(false);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct EmbedOptions {
    /// The session.
    pub session: SessionOptions,
    /// Which hidden states count.
    pub pooling: Pooling,
    /// Whether vectors have the length 1 (L2), so that their products are cosines.
    pub normalize: bool,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        let session = SessionOptions::default();
        Self { session, pooling: Pooling::default(), normalize: true }
    }
}

impl EmbedOptions {
    /// The mean of all hidden states, of length 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the session.
    #[must_use]
    pub const fn session(mut self, session: SessionOptions) -> Self {
        self.session = session;
        self
    }

    /// Sets which hidden states count.
    #[must_use]
    pub const fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    /// Sets whether vectors have the length 1.
    #[must_use]
    pub const fn normalize(mut self, normalize: bool) -> Self {
        self.normalize = normalize;
        self
    }
}

/// Makes vectors of texts, on the processor.
///
/// ```
/// use hardtack::{EmbedOptions, Engine};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// let mut embedder = engine.embedder(EmbedOptions::new())?;
/// let tokenizer = engine.tokenizer()?;
/// let [one, other] = ["a ring", "a ring"].map(|text| tokenizer.prompt(text));
/// let (one, other) = (embedder.embed(&one?)?, embedder.embed(&other?)?);
/// let cosine: f32 = one.iter().zip(&other).map(|(a, b)| a * b).sum();
/// assert!((cosine - 1.0).abs() < 1e-5);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Embedder {
    session: Session,
    options: EmbedOptions,
}

impl Engine {
    /// Starts a session that makes vectors of texts.
    ///
    /// # Errors
    /// As [`Engine::session`]; or the model runs on a device, which returns no hidden states.
    pub fn embedder(&self, options: EmbedOptions) -> Result<Embedder, Error> {
        if self.device().is_some() {
            let (expected, found) = ("cpu".to_owned(), "cuda".to_owned());
            return Err(Error::Setting { setting: "device for embeddings", expected, found });
        }
        Ok(Embedder { session: self.session(&options.session)?, options })
    }
}

impl Embedder {
    /// Numbers of a vector.
    pub fn dimensions(&self) -> usize {
        self.session.engine().network().spec.hidden as usize
    }

    /// The vector `[hidden]` of a text.
    ///
    /// # Errors
    /// No token, a token the model does not have, or more than fit the context.
    pub fn embed(&mut self, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        self.session.truncate(0);
        let mut pooled = vec![0.0; self.dimensions()];
        let pooling = self.options.pooling;
        self.session.feed_hidden(tokens, |index, hidden| match pooling {
            Pooling::Mean => {
                pooled.iter_mut().zip(hidden).for_each(|(sum, &value)| *sum += value);
            }
            Pooling::Last if index + 1 == tokens.len() => pooled.copy_from_slice(hidden),
            Pooling::Last => {}
        })?;
        let divisor = if self.options.normalize {
            let squares: f64 = pooled.iter().map(|&value| f64::from(value).powi(2)).sum();
            squares.sqrt() as f32
        } else if pooling == Pooling::Mean {
            tokens.len() as f32
        } else {
            1.0
        };
        if divisor > 0.0 {
            pooled.iter_mut().for_each(|value| *value /= divisor);
        }
        Ok(pooled)
    }
}
