//! How tokens are chosen, as numbers.

use crate::error::Error;

/// How tokens are chosen. The filters come in this order: penalty, top-k, temperature, top-p,
/// min-p.
///
/// ```
/// let options = hardtack::SamplerOptions::new().temperature(0.7).top_k(Some(20)).seed(42);
/// let mut sampler = hardtack::Sampler::new(options, 1000)?;
/// # Ok::<_, hardtack::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SamplerOptions {
    /// Divides the logits; 0 always takes the likeliest token.
    pub temperature: f32,
    /// Only this many of the likeliest tokens are considered; `None` for all.
    pub top_k: Option<usize>,
    /// Only the fewest likeliest tokens whose probabilities reach this sum; 1 for all.
    pub top_p: f32,
    /// Only tokens at least this probable as a share of the likeliest; 0 for all.
    pub min_p: f32,
    /// Logits of the last 64 tokens are divided by this where positive, multiplied where negative;
    /// 1 for none (arXiv 1909.05858, section 4.1).
    pub repetition_penalty: f32,
    /// The same seed produces the same text.
    pub seed: u64,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: Some(40),
            top_p: 0.95,
            min_p: 0.05,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

impl SamplerOptions {
    /// Takes the likeliest token each time. With a temperature, what the other numbers leave.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what divides the logits; 0 always takes the likeliest token.
    #[must_use]
    pub const fn temperature(mut self, temperature: f32) -> Self {
        self.temperature = temperature;
        self
    }

    /// Sets how many of the likeliest tokens are considered; `None` for all.
    #[must_use]
    pub const fn top_k(mut self, top_k: Option<usize>) -> Self {
        self.top_k = top_k;
        self
    }

    /// Sets the sum that the probabilities of considered tokens reach; 1 for all.
    #[must_use]
    pub const fn top_p(mut self, top_p: f32) -> Self {
        self.top_p = top_p;
        self
    }

    /// Sets the least share of the likeliest token's probability; 0 for all.
    #[must_use]
    pub const fn min_p(mut self, min_p: f32) -> Self {
        self.min_p = min_p;
        self
    }

    /// Sets what the logits of recent tokens are divided by; 1 for none.
    #[must_use]
    pub const fn repetition_penalty(mut self, penalty: f32) -> Self {
        self.repetition_penalty = penalty;
        self
    }

    /// Sets the seed: the same one produces the same text.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Refuses numbers outside their ranges.
    pub(super) fn check(&self) -> Result<(), Error> {
        in_range("temperature", self.temperature, 0.0, 100.0)?;
        if self.top_k == Some(0) {
            let (expected, found) = ("1 or more".to_owned(), "0".to_owned());
            return Err(Error::Setting { setting: "top-k", expected, found });
        }
        in_range("top-p", self.top_p, f32::MIN_POSITIVE, 1.0)?;
        in_range("min-p", self.min_p, 0.0, 1.0)?;
        in_range("repetition penalty", self.repetition_penalty, f32::MIN_POSITIVE, 100.0)
    }
}

fn in_range(setting: &'static str, value: f32, low: f32, high: f32) -> Result<(), Error> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    // The smallest float is written with 38 zeros.
    let low = if low == f32::MIN_POSITIVE { "more than 0".to_owned() } else { low.to_string() };
    let expected =
        if high.is_finite() { format!("{low} to {high}") } else { format!("{low} or more") };
    Err(Error::Setting { setting, expected, found: value.to_string() })
}
