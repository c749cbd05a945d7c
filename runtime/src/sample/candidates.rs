//! The tokens that may come next, with their logits: what the filters of a sampler work on.

use crate::error::Error;
use crate::memory::list;

/// A token that may come next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The token.
    pub token: u32,
    /// Its logit, perhaps changed by filters; never NaN.
    pub logit: f32,
}

/// The tokens that may come next. They begin as all tokens of the vocabulary, in the order of their
/// ids; a [`LogitsFilter`](super::LogitsFilter) changes their logits or leaves some of them out.
///
/// A logit of negative infinity forbids a token as well as [`Candidates::retain`] does.
///
/// ```
/// use hardtack::sample::{Candidates, Sampler};
///
/// // Even tokens only.
/// let even = |_: &[u32], candidates: &mut Candidates| candidates.retain(|one| one.token % 2 == 0);
/// let mut sampler = Sampler::chain(4)?.then(even);
/// assert_eq!(sampler.sample(&[], &[0.0, 9.0, 1.0, 8.0])?, 2);
/// # Ok::<_, hardtack::Error>(())
/// ```
#[derive(Debug)]
pub struct Candidates {
    all: Vec<Candidate>,
    /// Whether the likeliest come first.
    sorted: bool,
}

impl Candidates {
    /// None yet, with room for a vocabulary.
    pub(super) fn new(vocabulary: usize) -> Result<Self, Error> {
        Ok(Self { all: list(vocabulary)?, sorted: false })
    }

    /// Becomes all tokens.
    pub(super) fn fill(&mut self, logits: &[f32]) {
        self.all.clear();
        let all = logits.iter().zip(0..);
        self.all.extend(all.map(|(&logit, token)| Candidate { token, logit: number(logit) }));
        self.sorted = false;
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Candidate> {
        self.all.iter().copied()
    }

    /// The likeliest of them; of equals the first. None if no token is possible.
    pub fn likeliest(&self) -> Option<u32> {
        let mut best = None;
        let mut logit = f32::NEG_INFINITY;
        for candidate in &self.all {
            if candidate.logit > logit {
                (best, logit) = (Some(candidate.token), candidate.logit);
            }
        }
        best
    }

    /// Leaves out all for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(Candidate) -> bool) {
        self.all.retain(|candidate| keep(*candidate));
    }

    /// Sets every candidate's logit to what `change` returns. NaN counts as impossible.
    pub fn change(&mut self, mut change: impl FnMut(Candidate) -> f32) {
        for candidate in &mut self.all {
            candidate.logit = number(change(*candidate));
        }
        self.sorted = false;
    }

    /// Changes the logit of one token, if it is among them.
    pub fn change_one(&mut self, token: u32, change: impl FnOnce(f32) -> f32) {
        // As long as there are all of them, each is at its id.
        let index = match self.all.get(token as usize) {
            Some(candidate) if candidate.token == token => Some(token as usize),
            _ => self.all.iter().position(|candidate| candidate.token == token),
        };
        if let Some(index) = index {
            self.all[index].logit = number(change(self.all[index].logit));
            self.sorted = false;
        }
    }

    /// Leaves the likeliest `count`, sorted: the likeliest first, of equals the lower id first.
    pub fn keep_likeliest(&mut self, count: usize) {
        if count < self.all.len() {
            if !self.sorted {
                self.all.select_nth_unstable_by(count, order);
            }
            self.all.truncate(count);
        }
        self.sort();
    }

    /// Sorts them: the likeliest first, of equals the lower id first.
    pub fn sort(&mut self) {
        if !self.sorted {
            self.all.sort_unstable_by(order);
            self.sorted = true;
        }
    }

    /// Sorts them and divides their logits, of which the largest becomes 0. A divisor of 0 leaves
    /// the likeliest alone.
    pub fn divide(&mut self, divisor: f32) {
        if divisor > 0.0 {
            self.sort();
            let largest = self.all.first().map_or(0.0, |first| first.logit);
            for candidate in &mut self.all {
                candidate.logit = number((candidate.logit - largest) / divisor);
            }
        } else {
            self.keep_likeliest(1);
        }
    }

    /// Sorts them, and leaves those at the start for which `keep` is true: one at least. `keep` is
    /// passed a candidate's weight, 1 for the likeliest, and the sum of the weights before it.
    pub fn keep_while(&mut self, mut keep: impl FnMut(f32, f32) -> bool) {
        self.sort();
        let (mut sum, mut kept) = (0.0, 0);
        for candidate in &self.all {
            let weight = self.weight(candidate);
            if kept > 0 && !keep(weight, sum) {
                break;
            }
            sum += weight;
            kept += 1;
        }
        self.all.truncate(kept);
    }

    /// Their weights, 1 for the likeliest. Shares of the weights' sum are probabilities.
    pub fn weights(&mut self) -> impl Iterator<Item = f32> {
        self.sort();
        self.all.iter().map(|candidate| self.weight(candidate))
    }

    /// One of them at random: `unit` is a number from 0 to 1, 1 excluded. The first token where
    /// there is none.
    pub(super) fn draw(&mut self, unit: f64) -> u32 {
        self.sort();
        let weight = |candidate| f64::from(self.weight(candidate));
        let sum: f64 = self.all.iter().map(weight).sum();
        let mut rest = unit * sum;
        for candidate in &self.all {
            rest -= weight(candidate);
            if rest < 0.0 {
                return candidate.token;
            }
        }
        self.all.last().map_or(0, |candidate| candidate.token)
    }

    /// `exp(logit - largest)` of sorted candidates.
    fn weight(&self, candidate: &Candidate) -> f32 {
        let exponent = candidate.logit - self.all[0].logit;
        if exponent.is_nan() { 0.0 } else { exponent.exp() }
    }
}

/// NaN never wins.
fn number(logit: f32) -> f32 {
    if logit.is_nan() { f32::NEG_INFINITY } else { logit }
}

fn order(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}
