//! What a changed model loses on each window, and the figures of it with standard errors over
//! windows.

use hardtack_converter::calibrate::{Domain, Judged};

/// Rounds of the bootstrap.
const ROUNDS: usize = 1000;

/// A changed model on all windows, and what its matrices cost.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Bits a weight of the changed matrices.
    pub bits: f64,
    /// Squared error of the weights, relative to their squares.
    pub error: f64,
    /// Mean divergence of each window, in nats.
    divergences: Vec<f64>,
    /// Mean loss of each window beyond the checkpoint's, in nats.
    losses: Vec<f64>,
}

/// A figure and its standard error.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    pub value: f64,
    pub error: f64,
}

impl Verdict {
    /// From windows that were judged as texts of their own, all of one length.
    pub fn new(bits: f64, error: f64, judged: &[Judged]) -> Self {
        let divergences = judged.iter().map(|own| own.divergence).collect();
        let losses = judged.iter().map(|own| own.changed - own.exact).collect();
        Self { bits, error, divergences, losses }
    }

    /// Mean divergence.
    pub fn divergence(&self) -> Figure {
        bootstrap(self.divergences.len(), |windows| mean(&self.divergences, windows))
    }

    /// Perplexity as a multiple of the checkpoint's.
    pub fn perplexity(&self) -> Figure {
        bootstrap(self.losses.len(), |windows| mean(&self.losses, windows).exp())
    }

    /// Its divergence as a share of the one that the shipped forms, fewest bits first, have at the
    /// same bytes: between two of them the logarithm is taken to be linear in the bits. Nothing
    /// outside their range.
    pub fn share_of(&self, shipped: &[Self]) -> Option<Figure> {
        let [below, above] = neighbours(shipped, self.bits)?;
        Some(bootstrap(self.divergences.len(), |windows| {
            let [low, high] = [below, above].map(|own| mean(&own.divergences, windows).ln());
            let place = (self.bits - below.bits) / (above.bits - below.bits);
            mean(&self.divergences, windows) / (low + place * (high - low)).exp()
        }))
    }
}

fn neighbours(shipped: &[Verdict], bits: f64) -> Option<[&Verdict; 2]> {
    shipped
        .windows(2)
        .map(|pair| [&pair[0], &pair[1]])
        .find(|[low, high]| (low.bits..=high.bits).contains(&bits))
}

fn mean(numbers: &[f64], windows: &[usize]) -> f64 {
    windows.iter().map(|&window| numbers[window]).sum::<f64>() / windows.len() as f64
}

/// A figure of all windows, and its standard deviation over windows drawn again with replacement;
/// the same draws every time.
fn bootstrap(count: usize, figure: impl Fn(&[usize]) -> f64) -> Figure {
    let value = figure(&(0..count).collect::<Vec<_>>());
    let mut state = 1u64;
    let mut draw = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % count
    };
    let drawn: Vec<f64> =
        (0..ROUNDS).map(|_| figure(&(0..count).map(|_| draw()).collect::<Vec<_>>())).collect();
    let center = drawn.iter().sum::<f64>() / ROUNDS as f64;
    let variance =
        drawn.iter().map(|own| (own - center).powi(2)).sum::<f64>() / (ROUNDS - 1) as f64;
    Figure { value, error: variance.sqrt() }
}

/// Every window as a text of its own, so that it is judged alone.
pub fn apart(domains: &[Domain]) -> Vec<Domain> {
    let mut all = Vec::new();
    for own in domains {
        for (index, window) in own.tokens.iter().enumerate() {
            let name = format!("{} {index}", own.name);
            all.push(Domain { name, hash: own.hash.clone(), tokens: vec![window.clone()] });
        }
    }
    all
}
