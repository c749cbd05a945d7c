//! The choice of the next token from its logits.

use heapless::HistoryBuf;
use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::error::Error;
use crate::memory::list;

/// Tokens that the repetition penalty looks back on.
pub const PENALTY_TOKENS: usize = 64;

/// How tokens are chosen. The steps are taken in this order: penalty, top-k, temperature, top-p,
/// min-p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplerOptions {
    /// Divides the logits; 0 always takes the likeliest token.
    pub temperature: f32,
    /// Only this many of the likeliest tokens are considered; 0 for all.
    pub top_k: usize,
    /// Only the fewest likeliest tokens whose probabilities reach this sum; 1 for all.
    pub top_p: f32,
    /// Only tokens at least this probable as a share of the likeliest; 0 for all.
    pub min_p: f32,
    /// Logits of the last 64 tokens are divided by this where positive, multiplied where negative;
    /// 1 for none (arXiv 1909.05858, section 4.1).
    pub repetition_penalty: f32,
    /// The same seed gives the same text.
    pub seed: u64,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

/// Chooses tokens. All its memory is allocated at the start.
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SamplerOptions,
    random: Pcg64Mcg,
    /// Numbers drawn since the seed.
    drawn: u64,
    recent: HistoryBuf<u32, PENALTY_TOKENS>,
    candidates: Vec<Candidate>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    token: u32,
    logit: f32,
}

impl Sampler {
    /// A sampler for logits of this many tokens.
    ///
    /// # Errors
    /// An option outside its range.
    pub fn new(options: SamplerOptions, vocabulary: usize) -> Result<Self, Error> {
        let check = |setting: &'static str, value: f32, low: f32, high: f32| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            // The smallest float is written with 38 zeros.
            let low =
                if low == f32::MIN_POSITIVE { "more than 0".to_owned() } else { low.to_string() };
            let expected = if high.is_finite() {
                format!("{low} to {high}")
            } else {
                format!("{low} or more")
            };
            Err(Error::Setting { setting, expected, found: value.to_string() })
        };
        check("temperature", options.temperature, 0.0, 100.0)?;
        check("top-p", options.top_p, f32::MIN_POSITIVE, 1.0)?;
        check("min-p", options.min_p, 0.0, 1.0)?;
        check("repetition penalty", options.repetition_penalty, f32::MIN_POSITIVE, 100.0)?;
        Ok(Self {
            options,
            random: Pcg64Mcg::seed_from_u64(options.seed),
            drawn: 0,
            recent: HistoryBuf::new(),
            candidates: list(vocabulary)?,
        })
    }

    /// Bytes that [`Sampler::new`] allocates.
    pub const fn bytes(vocabulary: u32) -> u64 {
        vocabulary as u64 * size_of::<Candidate>() as u64
    }

    /// How tokens are chosen.
    pub const fn options(&self) -> &SamplerOptions {
        &self.options
    }

    /// Begins anew: forgets all tokens, and the seed's numbers come from the first one again.
    pub fn restart(&mut self) {
        self.resume(self.options.seed, 0);
    }

    /// How many of the seed's numbers were drawn. With the seed it is all that a later sampler
    /// needs to go on: [`Sampler::resume`].
    pub const fn drawn(&self) -> u64 {
        self.drawn
    }

    /// Takes a seed and goes on after so many of its numbers; forgets all tokens.
    pub fn resume(&mut self, seed: u64, drawn: u64) {
        self.recent.clear();
        self.options.seed = seed;
        self.random = Pcg64Mcg::seed_from_u64(seed);
        self.random.advance(drawn.into());
        self.drawn = drawn;
    }

    /// Forgets all tokens.
    pub fn forget(&mut self) {
        self.recent.clear();
    }

    /// Remembers a token for the repetition penalty. [`crate::Session::generate`] does it for the
    /// tokens it makes; those of a prompt are the caller's to accept or not.
    pub fn accept(&mut self, token: u32) {
        self.recent.write(token);
    }

    /// Whether it always takes the first of the likeliest tokens.
    pub const fn takes_likeliest(&self) -> bool {
        self.options.temperature == 0.0 && self.options.repetition_penalty == 1.0
    }

    /// Chooses a token from `logits [vocabulary]`.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        self.candidates.clear();
        // A number that is not one can never be chosen before one that is.
        let number = |logit: f32| if logit.is_nan() { f32::NEG_INFINITY } else { logit };
        let all =
            logits.iter().zip(0..).map(|(&logit, token)| Candidate { token, logit: number(logit) });
        self.candidates.extend(all);
        self.penalize();
        if self.options.temperature == 0.0 {
            return self.likeliest();
        }
        self.keep_top_k();
        self.weigh();
        let kept = self.keep_probable();
        self.draw(kept)
    }

    fn penalize(&mut self) {
        let penalty = self.options.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        let recent = self.recent.as_slice();
        for (index, &token) in recent.iter().enumerate() {
            // Once for each token, however often it was said.
            if recent[..index].contains(&token) {
                continue;
            }
            if let Some(candidate) = self.candidates.get_mut(token as usize) {
                candidate.logit = if candidate.logit > 0.0 {
                    candidate.logit / penalty
                } else {
                    candidate.logit * penalty
                };
            }
        }
    }

    /// The first of the largest.
    fn likeliest(&self) -> u32 {
        let mut best = Candidate { token: 0, logit: f32::NEG_INFINITY };
        for candidate in &self.candidates {
            if candidate.logit > best.logit {
                best = *candidate;
            }
        }
        best.token
    }

    /// Sorts the candidates that are kept, the likeliest first and the lower id first among equals.
    fn keep_top_k(&mut self) {
        let order =
            |a: &Candidate, b: &Candidate| b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token));
        let kept = match self.options.top_k {
            0 => self.candidates.len(),
            top_k => top_k.min(self.candidates.len()),
        };
        if kept < self.candidates.len() {
            self.candidates.select_nth_unstable_by(kept, order);
            self.candidates.truncate(kept);
        }
        self.candidates.sort_unstable_by(order);
    }

    /// Logits become weights, 1 for the likeliest.
    fn weigh(&mut self) {
        let largest = self.candidates.first().map_or(0.0, |first| first.logit);
        for candidate in &mut self.candidates {
            let exponent = (candidate.logit - largest) / self.options.temperature;
            candidate.logit = if exponent.is_nan() { 0.0 } else { exponent.exp() };
        }
    }

    /// How many of the sorted candidates top-p and min-p keep: at least one.
    fn keep_probable(&self) -> usize {
        let total: f32 = self.candidates.iter().map(|candidate| candidate.logit).sum();
        let (mut sum, mut kept) = (0.0, 0);
        for candidate in &self.candidates {
            if kept > 0
                && (candidate.logit < self.options.min_p || sum >= self.options.top_p * total)
            {
                break;
            }
            sum += candidate.logit;
            kept += 1;
        }
        kept
    }

    fn draw(&mut self, kept: usize) -> u32 {
        let candidates = &self.candidates[..kept];
        let sum: f64 = candidates.iter().map(|candidate| f64::from(candidate.logit)).sum();
        // 53 bits: every double in [0, 1) on an even grid.
        self.drawn = self.drawn.wrapping_add(1);
        let unit = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut rest = unit * sum;
        for candidate in candidates {
            rest -= f64::from(candidate.logit);
            if rest < 0.0 {
                return candidate.token;
            }
        }
        candidates.last().map_or(0, |candidate| candidate.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(options: SamplerOptions) -> Sampler {
        Sampler::new(options, 4).unwrap()
    }

    const LOGITS: [f32; 4] = [1.0, 3.0, 2.0, 3.0];

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert_eq!(sampler(SamplerOptions::default()).sample(&LOGITS), 1);
        assert_eq!(sampler(SamplerOptions::default()).sample(&[f32::NAN, -1.0, f32::NAN, 0.0]), 3);
    }

    #[test]
    fn filters_leave_what_they_say() {
        let free = SamplerOptions {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            ..SamplerOptions::default()
        };
        let seen = |options: SamplerOptions| {
            let mut sampler = sampler(options);
            let mut counts = [0; 4];
            (0..4000).for_each(|_| counts[sampler.sample(&LOGITS) as usize] += 1);
            counts
        };
        let counts = seen(free);
        let all: f32 = LOGITS.iter().map(|logit| logit.exp()).sum();
        for (count, logit) in counts.into_iter().zip(LOGITS) {
            assert!((count as f32 / 4000.0 - logit.exp() / all).abs() < 0.03, "{counts:?}");
        }
        assert_eq!(seen(SamplerOptions { top_k: 1, ..free }), [0, 4000, 0, 0]);
        let top_p = seen(SamplerOptions { top_p: 0.5, ..free });
        assert!(top_p[0] == 0 && top_p[2] == 0 && top_p[3] > 0);
        let min_p = seen(SamplerOptions { min_p: 0.2, ..free });
        assert!(min_p[0] == 0 && min_p[2] > 0);
        let penalized = {
            let mut sampler =
                sampler(SamplerOptions { repetition_penalty: 2.0, ..SamplerOptions::default() });
            sampler.accept(1);
            sampler.accept(1);
            sampler.sample(&LOGITS)
        };
        assert_eq!(penalized, 3);
    }

    #[test]
    fn the_seed_decides() {
        let draw = |seed| {
            let mut sampler =
                sampler(SamplerOptions { temperature: 1.0, seed, ..SamplerOptions::default() });
            (0..50).map(|_| sampler.sample(&LOGITS)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        // A sampler goes on where another one was.
        let options = SamplerOptions { temperature: 1.0, seed: 7, ..SamplerOptions::default() };
        let (mut first, mut second) =
            (sampler(options), sampler(SamplerOptions { seed: 0, ..options }));
        (0..20).for_each(|_| _ = first.sample(&LOGITS));
        second.resume(7, first.drawn());
        let rest =
            |sampler: &mut Sampler| (0..50).map(|_| sampler.sample(&LOGITS)).collect::<Vec<_>>();
        assert_eq!(rest(&mut first), rest(&mut second));
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        for options in [
            SamplerOptions { temperature: -1.0, ..SamplerOptions::default() },
            SamplerOptions { temperature: f32::NAN, ..SamplerOptions::default() },
            SamplerOptions { top_p: 0.0, ..SamplerOptions::default() },
            SamplerOptions { min_p: 1.5, ..SamplerOptions::default() },
            SamplerOptions { repetition_penalty: 0.0, ..SamplerOptions::default() },
        ] {
            assert!(Sampler::new(options, 4).is_err());
        }
    }
}
