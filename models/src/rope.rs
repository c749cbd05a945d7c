//! RoPE's angular frequencies, for every scaling that is known: computed here once, so that the
//! runtime only turns.

use std::f64::consts::TAU;

/// How one family's checkpoint turns queries and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// The base: pair `i` of `dim / 2` turns by `base^(-2i / dim)` radians per position, before
    /// scaling.
    pub base: f64,
    /// Elements of a head that are turned; even.
    pub dim: u32,
    /// How the frequencies were changed for longer contexts.
    pub scaling: Scaling,
}

/// How frequencies were changed for longer contexts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// Not at all.
    Default,
    /// Positions are divided by a factor (arXiv 2306.15595).
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Slow frequencies are divided by a factor, fast ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// The factor.
        factor: f64,
        /// Turns over the original context below which a frequency is slow.
        low: f64,
        /// Turns over the original context above which a frequency is fast.
        high: f64,
        /// The context before scaling, in tokens.
        original: f64,
    },
    /// The same idea over the index of the pair, with a factor on the cosines and sines (YaRN,
    /// arXiv 2309.00071).
    Yarn {
        /// The factor.
        factor: f64,
        /// The context before scaling, in tokens.
        original: f64,
        /// Turns over the original context above which a frequency is kept.
        beta_fast: f64,
        /// Turns over the original context below which a frequency is divided.
        beta_slow: f64,
        /// Whether the ends of the ramp are rounded outwards to whole pairs.
        truncate: bool,
        /// Cosines and sines are multiplied by this.
        attention_factor: f64,
    },
}

impl Rope {
    /// Radians per position for each pair: `[dim / 2]`.
    pub fn frequencies(&self) -> Vec<f32> {
        let dim = f64::from(self.dim);
        let own = |pair: u32| self.base.powf(-2.0 * f64::from(pair) / dim);
        let scaled = |pair: u32| match self.scaling {
            Scaling::Default => own(pair),
            Scaling::Linear { factor } => own(pair) / factor,
            Scaling::Llama3 { factor, low, high, original } => {
                let turns = original * own(pair) / TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                own(pair) * (kept + (1.0 - kept) / factor)
            }
            Scaling::Yarn { factor, .. } => {
                let (start, end) = self.yarn_ramp();
                let divided = ((f64::from(pair) - start) / (end - start)).clamp(0.0, 1.0);
                own(pair) * (1.0 - divided + divided / factor)
            }
        };
        (0..self.dim / 2).map(|pair| scaled(pair) as f32).collect()
    }

    /// Cosines and sines are multiplied by this.
    pub fn attention_factor(&self) -> f32 {
        match self.scaling {
            Scaling::Yarn { attention_factor, .. } => attention_factor as f32,
            _ => 1.0,
        }
    }

    /// The pairs between which YaRN goes from kept to divided.
    fn yarn_ramp(&self) -> (f64, f64) {
        let Scaling::Yarn { original, beta_fast, beta_slow, truncate, .. } = self.scaling else {
            return (0.0, 1.0);
        };
        let dim = f64::from(self.dim);
        // The pair that makes this many turns over the original context.
        let pair = |turns: f64| dim * (original / (turns * TAU)).ln() / (2.0 * self.base.ln());
        let (mut start, mut end) = (pair(beta_fast), pair(beta_slow));
        if truncate {
            (start, end) = (start.floor(), end.ceil());
        }
        // The upper bound is `dim - 1`, not `dim / 2 - 1`: so it was published, and so it was
        // trained.
        let (start, end) = (start.max(0.0), end.min(dim - 1.0));
        if start == end { (start, end + 0.001) } else { (start, end) }
    }
}

/// YaRN's `mscale`: how much attention is sharpened for a factor (arXiv 2309.00071, section 3.4).
pub(crate) fn mscale(factor: f64, weight: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 }
}
