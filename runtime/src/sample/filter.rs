//! Filters: the steps by which a sampler decides which tokens may come next, and how likely.

use heapless::HistoryBuf;

use super::candidates::Candidates;

/// Tokens that the repetition penalty looks back on.
pub const PENALTY_TOKENS: usize = 64;

/// One step of a sampler: it changes logits, or leaves tokens out.
///
/// A closure `FnMut(&[u32], &mut Candidates)` is one. A grammar that follows the text token by
/// token implements [`LogitsFilter::begin`] and [`LogitsFilter::accept`] too.
///
/// ```
/// use hardtack::sample::{Candidates, LogitsFilter};
///
/// /// Forbids the same token twice in a row.
/// struct NoEcho(Option<u32>);
///
/// impl LogitsFilter for NoEcho {
///     fn filter(&mut self, _: &[u32], candidates: &mut Candidates) {
///         candidates.retain(|candidate| Some(candidate.token) != self.0);
///     }
///     fn begin(&mut self, _: &[u32]) {
///         self.0 = None;
///     }
///     fn accept(&mut self, token: u32) {
///         self.0 = Some(token);
///     }
/// }
///
/// let mut sampler = hardtack::Sampler::chain(4)?.then(NoEcho(None));
/// sampler.accept(1);
/// assert_eq!(sampler.sample(&[], &[0.0, 9.0, 1.0, 8.0])?, 3);
/// # Ok::<_, hardtack::Error>(())
/// ```
pub trait LogitsFilter: Send {
    /// Decides which tokens may follow `history`, and how likely. The history is the newest tokens
    /// of the text, its prompt included: all of them, unless a ring has forgotten the oldest.
    fn filter(&mut self, history: &[u32], candidates: &mut Candidates);

    /// A new text begins after these newest tokens of its prompt, [`PENALTY_TOKENS`] at most.
    fn begin(&mut self, prompt: &[u32]) {
        _ = prompt;
    }

    /// The text goes on with this token.
    fn accept(&mut self, token: u32) {
        _ = token;
    }
}

impl<F: FnMut(&[u32], &mut Candidates) + Send> LogitsFilter for F {
    fn filter(&mut self, history: &[u32], candidates: &mut Candidates) {
        self(history, candidates);
    }
}

/// Logits of the last 64 tokens are divided by this where positive, multiplied where negative
/// (arXiv 1909.05858, section 4.1).
#[derive(Clone, Debug)]
pub struct RepetitionPenalty {
    penalty: f32,
    recent: HistoryBuf<u32, PENALTY_TOKENS>,
}

impl RepetitionPenalty {
    /// A penalty of more than 1 makes repetitions rarer.
    pub const fn new(penalty: f32) -> Self {
        Self { penalty, recent: HistoryBuf::new() }
    }
}

impl LogitsFilter for RepetitionPenalty {
    fn filter(&mut self, _: &[u32], candidates: &mut Candidates) {
        let recent = self.recent.as_slice();
        for (index, &token) in recent.iter().enumerate() {
            // Once for each token, however often it was said.
            if !recent[..index].contains(&token) {
                candidates.change_one(token, |logit| {
                    if logit > 0.0 { logit / self.penalty } else { logit * self.penalty }
                });
            }
        }
    }

    fn begin(&mut self, prompt: &[u32]) {
        self.recent.clear();
        self.recent.extend_from_slice(prompt);
    }

    fn accept(&mut self, token: u32) {
        self.recent.write(token);
    }
}

/// Leaves this many of the likeliest tokens.
#[derive(Clone, Copy, Debug)]
pub struct TopK(pub usize);

impl LogitsFilter for TopK {
    fn filter(&mut self, _: &[u32], candidates: &mut Candidates) {
        candidates.keep_likeliest(self.0);
    }
}

/// Divides the logits: less than 1 makes likely tokens likelier.
#[derive(Clone, Copy, Debug)]
pub struct Temperature(pub f32);

impl LogitsFilter for Temperature {
    fn filter(&mut self, _: &[u32], candidates: &mut Candidates) {
        candidates.divide(self.0);
    }
}

/// Leaves the fewest likeliest tokens whose probabilities reach this sum.
#[derive(Clone, Copy, Debug)]
pub struct TopP(pub f32);

impl LogitsFilter for TopP {
    fn filter(&mut self, _: &[u32], candidates: &mut Candidates) {
        let total: f32 = candidates.weights().sum();
        candidates.keep_while(|_, sum| sum < self.0 * total);
    }
}

/// Leaves the tokens that are at least this probable, as a share of the likeliest.
#[derive(Clone, Copy, Debug)]
pub struct MinP(pub f32);

impl LogitsFilter for MinP {
    fn filter(&mut self, _: &[u32], candidates: &mut Candidates) {
        candidates.keep_while(|weight, _| weight >= self.0);
    }
}
