//! The choice of the next token from its logits: a chain of filters, and a draw.

mod candidates;
mod filter;
mod options;
mod probability;

use std::fmt;

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

pub use candidates::{Candidate, Candidates};
pub use filter::{LogitsFilter, MinP, PENALTY_TOKENS, RepetitionPenalty, Temperature, TopK, TopP};
pub use options::SamplerOptions;
pub use probability::{LogProbabilities, LogProbability};

use crate::error::Error;

/// Chooses tokens. What its own filters need is allocated at the start.
///
/// [`Sampler::new`] makes the usual chain of some options; [`Sampler::first`] puts a mask before
/// it. [`Sampler::chain`] begins an empty one.
///
/// ```
/// use hardtack::sample::{Candidates, MinP, Temperature};
/// use hardtack::{Sampler, SamplerOptions};
///
/// let logits = [1.0, 3.0, 2.0, 2.5];
/// // The usual chain, which takes the likeliest token, but never token 1.
/// let mask = |_: &[u32], candidates: &mut Candidates| candidates.retain(|one| one.token != 1);
/// let mut sampler = Sampler::new(SamplerOptions::default(), 4)?.first(mask);
/// assert_eq!(sampler.sample(&[], &logits)?, 3);
///
/// // A chain of one's own.
/// let mut sampler = Sampler::chain(4)?.then(Temperature(0.8)).then(MinP(0.1)).draw(7);
/// assert!(sampler.sample(&[], &logits)? < 4);
/// # Ok::<_, hardtack::Error>(())
/// ```
pub struct Sampler {
    options: SamplerOptions,
    filters: Vec<Box<dyn LogitsFilter>>,
    choice: Choice,
    /// Whether a filter is the caller's, which may leave no token at all.
    is_custom: bool,
    random: Pcg64Mcg,
    /// Numbers drawn since the seed.
    drawn: u64,
    candidates: Candidates,
}

/// How one of the tokens is taken that the filters leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Likeliest,
    Draw,
}

impl Sampler {
    /// The usual chain for logits of this many tokens: penalty, top-k, temperature, top-p, min-p,
    /// each where the options ask for it.
    ///
    /// # Errors
    /// An option outside its range.
    pub fn new(options: SamplerOptions, vocabulary: usize) -> Result<Self, Error> {
        options.check()?;
        let mut sampler = Self::chain(vocabulary)?;
        if options.repetition_penalty != 1.0 {
            sampler.push(RepetitionPenalty::new(options.repetition_penalty));
        }
        if options.temperature > 0.0 {
            if let Some(top_k) = options.top_k {
                sampler.push(TopK(top_k));
            }
            sampler.push(Temperature(options.temperature));
            sampler.push(TopP(options.top_p));
            sampler.push(MinP(options.min_p));
            sampler.choice = Choice::Draw;
        }
        sampler.options = options;
        sampler.resume(options.seed, 0);
        Ok(sampler)
    }

    /// No filter yet: takes the likeliest of this many tokens.
    ///
    /// # Errors
    /// The system has no room for as many.
    pub fn chain(vocabulary: usize) -> Result<Self, Error> {
        Ok(Self {
            options: SamplerOptions::default(),
            filters: Vec::new(),
            choice: Choice::Likeliest,
            is_custom: false,
            random: Pcg64Mcg::seed_from_u64(0),
            drawn: 0,
            candidates: Candidates::new(vocabulary)?,
        })
    }

    /// Puts a filter before all others, where it sees every token with its logit: a mask.
    #[must_use]
    pub fn first(mut self, filter: impl LogitsFilter + 'static) -> Self {
        self.push_first(filter);
        self
    }

    /// Puts a filter after all others.
    #[must_use]
    pub fn then(mut self, filter: impl LogitsFilter + 'static) -> Self {
        self.push(filter);
        self.is_custom = true;
        self
    }

    /// Draws one of the tokens that the filters leave, instead of taking the likeliest. The same
    /// seed produces the same text.
    #[must_use]
    pub fn draw(mut self, seed: u64) -> Self {
        self.choice = Choice::Draw;
        self.resume(seed, 0);
        self
    }

    /// As [`Sampler::first`], for a sampler that is in use.
    pub fn push_first(&mut self, filter: impl LogitsFilter + 'static) {
        self.filters.insert(0, Box::new(filter));
        self.is_custom = true;
    }

    fn push(&mut self, filter: impl LogitsFilter + 'static) {
        self.filters.push(Box::new(filter));
    }

    /// Bytes that [`Sampler::new`] allocates for a vocabulary.
    pub const fn bytes(vocabulary: u32) -> u64 {
        vocabulary as u64 * size_of::<Candidate>() as u64
    }

    /// How tokens are chosen; filters of the caller's are not among the options.
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

    /// Takes a seed and goes on after the first `drawn` of its numbers; forgets all tokens.
    pub fn resume(&mut self, seed: u64, drawn: u64) {
        self.begin(&[]);
        self.options.seed = seed;
        self.random = Pcg64Mcg::seed_from_u64(seed);
        self.random.advance(drawn.into());
        self.drawn = drawn;
    }

    /// Begins a text: the filters forget all tokens but the newest of its prompt.
    pub fn begin(&mut self, prompt: &[u32]) {
        let recent = prompt.len().saturating_sub(PENALTY_TOKENS);
        self.filters.iter_mut().for_each(|filter| filter.begin(&prompt[recent..]));
    }

    /// Goes on with a token. [`Generator`](crate::Generator) does it for the tokens it makes.
    pub fn accept(&mut self, token: u32) {
        self.filters.iter_mut().for_each(|filter| filter.accept(token));
    }

    /// Whether it always takes the first of the likeliest tokens.
    pub fn takes_likeliest(&self) -> bool {
        self.filters.is_empty() && self.choice == Choice::Likeliest
    }

    /// Chooses a token from `logits [vocabulary]`, which follow the tokens of `history`.
    ///
    /// # Errors
    /// The caller's filters leave no token.
    pub fn sample(&mut self, history: &[u32], logits: &[f32]) -> Result<u32, Error> {
        let Self { filters, candidates, .. } = self;
        candidates.fill(logits);
        filters.iter_mut().for_each(|filter| filter.filter(history, candidates));
        let likeliest = candidates.likeliest();
        if self.is_custom && likeliest.is_none() {
            return Err(Error::NoToken);
        }
        match self.choice {
            Choice::Likeliest => Ok(likeliest.unwrap_or(0)),
            Choice::Draw => {
                // 53 bits: every double in [0, 1) on an even grid.
                self.drawn = self.drawn.wrapping_add(1);
                let unit = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                Ok(self.candidates.draw(unit))
            }
        }
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Sampler")
            .field("options", &self.options)
            .field("filters", &self.filters.len())
            .field("drawn", &self.drawn)
            .finish_non_exhaustive()
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
        assert_eq!(sampler(SamplerOptions::default()).sample(&[], &LOGITS).unwrap(), 1);
        assert_eq!(
            sampler(SamplerOptions::default())
                .sample(&[], &[f32::NAN, -1.0, f32::NAN, 0.0])
                .unwrap(),
            3
        );
    }

    #[test]
    fn filters_leave_what_they_say() {
        let free = SamplerOptions {
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            ..SamplerOptions::default()
        };
        let seen = |options: SamplerOptions| {
            let mut sampler = sampler(options);
            let mut counts = [0; 4];
            (0..4000).for_each(|_| counts[sampler.sample(&[], &LOGITS).unwrap() as usize] += 1);
            counts
        };
        let counts = seen(free);
        let all: f32 = LOGITS.iter().map(|logit| logit.exp()).sum();
        for (count, logit) in counts.into_iter().zip(LOGITS) {
            assert!((count as f32 / 4000.0 - logit.exp() / all).abs() < 0.03, "{counts:?}");
        }
        assert_eq!(seen(free.top_k(Some(1))), [0, 4000, 0, 0]);
        let top_p = seen(SamplerOptions { top_p: 0.5, ..free });
        assert!(top_p[0] == 0 && top_p[2] == 0 && top_p[3] > 0);
        let min_p = seen(SamplerOptions { min_p: 0.2, ..free });
        assert!(min_p[0] == 0 && min_p[2] > 0);
        let penalized = {
            let mut sampler =
                sampler(SamplerOptions { repetition_penalty: 2.0, ..SamplerOptions::default() });
            sampler.accept(1);
            sampler.accept(1);
            sampler.sample(&[], &LOGITS).unwrap()
        };
        assert_eq!(penalized, 3);
    }

    #[test]
    fn the_seed_decides() {
        let draw = |seed| {
            let mut sampler =
                sampler(SamplerOptions { temperature: 1.0, seed, ..SamplerOptions::default() });
            (0..50).map(|_| sampler.sample(&[], &LOGITS).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        // A sampler goes on where another one was.
        let options = SamplerOptions { temperature: 1.0, seed: 7, ..SamplerOptions::default() };
        let (mut first, mut second) =
            (sampler(options), sampler(SamplerOptions { seed: 0, ..options }));
        (0..20).for_each(|_| _ = first.sample(&[], &LOGITS).unwrap());
        second.resume(7, first.drawn());
        let rest = |sampler: &mut Sampler| {
            (0..50).map(|_| sampler.sample(&[], &LOGITS).unwrap()).collect::<Vec<_>>()
        };
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

    /// All filters in one loop, which the chain must equal bit for bit.
    fn chosen_at_once(options: &SamplerOptions, random: &mut Pcg64Mcg, logits: &[f32]) -> u32 {
        let mut all: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(options.top_k.unwrap_or(usize::MAX));
        let largest = all[0].1;
        for (_, logit) in &mut all {
            *logit = ((*logit - largest) / options.temperature).exp();
        }
        let total: f32 = all.iter().map(|(_, weight)| weight).sum();
        let (mut sum, mut kept) = (0.0, 0);
        while kept < all.len()
            && (kept == 0 || all[kept].1 >= options.min_p && sum < options.top_p * total)
        {
            sum += all[kept].1;
            kept += 1;
        }
        let sum: f64 = all[..kept].iter().map(|(_, weight)| f64::from(*weight)).sum();
        let mut rest = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * sum;
        for (token, weight) in &all[..kept] {
            rest -= f64::from(*weight);
            if rest < 0.0 {
                return *token;
            }
        }
        all[kept - 1].0
    }

    #[test]
    fn filters_choose_what_one_loop_would() {
        let mut noise = Pcg64Mcg::seed_from_u64(1);
        for seed in 0..200 {
            let mut unit = || (noise.next_u64() >> 40) as f32 / (1 << 24) as f32;
            let options = SamplerOptions {
                temperature: 0.1 + 2.0 * unit(),
                top_k: [None, Some(1), Some(5), Some(40), Some(1000)][seed as usize % 5],
                top_p: [1.0, 0.95, 0.5][seed as usize % 3],
                min_p: [0.0, 0.05, 0.3, 1.0][seed as usize % 4],
                seed,
                ..SamplerOptions::default()
            };
            let mut sampler = Sampler::new(options, 300).unwrap();
            let mut random = Pcg64Mcg::seed_from_u64(seed);
            for _ in 0..20 {
                // Equal logits are among them.
                let logits: Vec<f32> = (0..300).map(|_| (unit() * 64.0).floor() / 4.0).collect();
                assert_eq!(
                    sampler.sample(&[], &logits).unwrap(),
                    chosen_at_once(&options, &mut random, &logits),
                    "{options:?}"
                );
            }
        }
    }

    #[test]
    fn a_mask_that_leaves_no_token_is_an_error() {
        let none = |_: &[u32], candidates: &mut Candidates| candidates.retain(|_| false);
        let never = |_: &[u32], candidates: &mut Candidates| candidates.change(|_| f32::NAN);
        let hot = SamplerOptions { temperature: 1.0, ..SamplerOptions::default() };
        for options in [SamplerOptions::default(), hot] {
            let mut sampler = sampler(options).first(none);
            assert!(matches!(sampler.sample(&[], &LOGITS), Err(Error::NoToken)));
            let mut sampler = self::sampler(options).first(never);
            assert!(matches!(sampler.sample(&[], &LOGITS), Err(Error::NoToken)));
        }
        // Without a mask some token is always chosen.
        assert_eq!(sampler(hot).sample(&[], &[f32::NAN; 4]).unwrap(), 0);
    }

    #[test]
    fn a_mask_sees_the_history_and_holds_for_every_draw() {
        let hot = SamplerOptions { temperature: 5.0, ..SamplerOptions::default() };
        let mask = |history: &[u32], candidates: &mut Candidates| {
            let last = history.last().copied();
            candidates.retain(|candidate| Some(candidate.token) > last);
        };
        let mut sampler = sampler(hot).first(mask);
        for _ in 0..200 {
            assert!(sampler.sample(&[0, 2], &LOGITS).unwrap() == 3);
        }
        assert!(!sampler.takes_likeliest());
    }
}
