//! How sure a mean of paired differences is: its 95 % interval by the percentile bootstrap (Efron
//! and Tibshirani, An Introduction to the Bootstrap, chapter 13).

use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use super::mean::Mean;
use crate::args::BootstrapArguments;

/// Fewest numbers that get an interval. Where two models are equally good, `n` differences have all
/// the same sign with probability `2^(1 - n)`, and the interval then never holds 0: only from 6 on
/// is that rarer than 5 %.
pub const SAMPLE_MIN: usize = 6;

/// Share of the resampled means below the interval, and above it.
const TAIL: f64 = 0.025;

/// A mean and how sure it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub mean: f64,
    pub standard_error: f64,
    /// Lowest and highest of the middle 95 % of the resampled means; nothing for fewer than
    /// [`SAMPLE_MIN`] numbers.
    pub interval: Option<[f64; 2]>,
    /// Whether 0 lies outside the interval.
    pub excludes_zero: Option<bool>,
}

impl Estimate {
    /// Of numbers that are independent of each other: one for each item, or each window.
    pub fn of(values: &[f64], bootstrap: &BootstrapArguments) -> Self {
        let mut mean = Mean::default();
        values.iter().for_each(|&value| mean.add(value));
        let interval = (values.len() >= SAMPLE_MIN).then(|| interval(values, bootstrap));
        Self {
            mean: mean.mean(),
            standard_error: mean.standard_error(),
            interval,
            excludes_zero: interval.map(|[low, high]| low > 0.0 || high < 0.0),
        }
    }

    /// Such as `from -1.20 to 0.35`, every number times `scale`.
    pub fn show_interval(&self, scale: f64, decimals: usize) -> String {
        match self.interval {
            None => format!("no interval for fewer than {SAMPLE_MIN}"),
            Some([low, high]) => {
                format!("{:+.decimals$} to {:+.decimals$}", low * scale, high * scale)
            }
        }
    }

    /// What the interval says about the difference of two models.
    pub fn verdict(&self) -> &'static str {
        match self.excludes_zero {
            None => "too few to tell",
            Some(true) => "they differ",
            Some(false) => "no difference shown",
        }
    }
}

fn interval(values: &[f64], bootstrap: &BootstrapArguments) -> [f64; 2] {
    let mut random = Pcg64Mcg::seed_from_u64(bootstrap.seed);
    let count = values.len();
    let mut resampled_mean = || {
        let drawn = (0..count).map(|_| values[below(&mut random, count)]);
        drawn.sum::<f64>() / count as f64
    };
    let mut means: Vec<f64> = (0..bootstrap.resamples).map(|_| resampled_mean()).collect();
    means.sort_by(f64::total_cmp);
    let last = (means.len() - 1) as f64;
    [TAIL, 1.0 - TAIL].map(|share| means[(share * last).round() as usize])
}

/// A number from 0 to `limit` - 1, each as likely but for `limit / 2^64`.
fn below(random: &mut Pcg64Mcg, limit: usize) -> usize {
    ((u128::from(random.next_u64()) * limit as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(values: &[f64]) -> Estimate {
        Estimate::of(values, &BootstrapArguments { resamples: 10_000, seed: 0 })
    }

    #[test]
    fn coins_have_the_binomial_interval() {
        // Means of resamples of 50 ones and 50 zeros are Binomial(100, 1/2) / 100, whose quantiles
        // at 2.5 and 97.5 % are 40 and 60.
        let coins: Vec<f64> = (0..100).map(|index| f64::from(index % 2)).collect();
        let found = estimate(&coins);
        assert_eq!(found.mean, 0.5);
        let [low, high] = found.interval.unwrap();
        assert!(
            (low - 0.40).abs() <= 0.010_001 && (high - 0.60).abs() <= 0.010_001,
            "{low} {high}"
        );
        assert_eq!(found, estimate(&coins), "the same seed, the same interval");
    }

    #[test]
    fn a_wide_sample_has_the_normal_interval() {
        let values: Vec<f64> =
            (0..1000).map(|index| f64::from((index * 389) % 1000) / 1000.0).collect();
        let found = estimate(&values);
        let [low, high] = found.interval.unwrap();
        let half = 1.96 * found.standard_error;
        assert!((low - (found.mean - half)).abs() < 0.05 * half, "{low}");
        assert!((high - (found.mean + half)).abs() < 0.05 * half, "{high}");
        assert_eq!(found.excludes_zero, Some(true));
        let other = Estimate::of(&values, &BootstrapArguments { resamples: 10_000, seed: 1 });
        assert_ne!(other.interval, found.interval, "another seed draws others");
        let centred: Vec<f64> = values.iter().map(|value| value - found.mean).collect();
        assert_eq!(estimate(&centred).excludes_zero, Some(false));
        let negative: Vec<f64> = values.iter().map(|value| -value).collect();
        assert_eq!(estimate(&negative).excludes_zero, Some(true));
    }

    #[test]
    fn too_few_have_no_interval() {
        let few = estimate(&[1.0; SAMPLE_MIN - 1]);
        assert_eq!((few.interval, few.excludes_zero), (None, None));
        assert_eq!(estimate(&[1.0; SAMPLE_MIN]).interval, Some([1.0, 1.0]));
        assert_eq!(estimate(&[0.0; SAMPLE_MIN]).excludes_zero, Some(false));
    }
}
