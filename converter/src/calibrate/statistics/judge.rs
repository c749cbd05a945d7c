//! How far a changed model is from the checkpoint on given text: losses of both, and the divergence of their predictions.

use candle_core::{Device, Tensor};
use hardtack_format::Role;
use rayon::prelude::*;

use super::boundaries::Boundaries;
use super::head::{Block, TOKENS, Token};
use super::{DTYPE, Progress, Run, Settings};
use crate::calibrate::error::CalibrateError;
use crate::calibrate::graph::rms_norm;
use crate::calibrate::model::Model;
use crate::calibrate::text::{Domain, windows};

/// A changed model beside the checkpoint on one text, everything as a mean over the predicted tokens, in nats.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The text's name.
    pub domain: String,
    /// Predicted tokens.
    pub tokens: u64,
    /// Loss of the checkpoint.
    pub exact: f64,
    /// Loss of the changed model.
    pub changed: f64,
    /// Kullback-Leibler divergence of the changed model's predictions from the checkpoint's.
    pub divergence: f64,
}

/// The final, normalized stream of one model, and the normalizers of its predictions.
struct Side<'a> {
    model: &'a Model,
    normed: Tensor,
    tokens: Vec<Token>,
}

/// Judges a model on each of some texts. Both models are read once.
///
/// # Errors
/// A model or a text is no use, or `stop` was set.
pub fn judge(
    exact: &Model,
    changed: &Model,
    domains: &[Domain],
    settings: &Settings<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Judged>, CalibrateError> {
    let exact = side(exact, domains, settings, &mut |own| progress(Progress { total: 2 * own.total, ..own }))?;
    let changed = side(changed, domains, settings, &mut |own| {
        progress(Progress { done: own.total + own.done, total: 2 * own.total, ..own });
    })?;
    let divergences = divergences(&exact, &changed)?;
    let none = |own: &Domain| Judged { domain: own.name.clone(), tokens: 0, exact: 0.0, changed: 0.0, divergence: 0.0 };
    let mut judged: Vec<Judged> = domains.iter().map(none).collect();
    for ((exact, changed), divergence) in exact.tokens.iter().zip(&changed.tokens).zip(divergences) {
        if exact.target.is_some() {
            let own = &mut judged[exact.domain];
            own.tokens += 1;
            own.exact += exact.loss();
            own.changed += changed.loss();
            own.divergence += divergence;
        }
    }
    for own in &mut judged {
        let count = own.tokens.max(1) as f64;
        own.exact /= count;
        own.changed /= count;
        own.divergence /= count;
    }
    Ok(judged)
}

fn side<'a>(
    model: &'a Model,
    domains: &[Domain],
    settings: &Settings<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Side<'a>, CalibrateError> {
    let windows = windows(domains, model.spec(), settings.domain_tokens_min)?;
    let layers = model.spec().layers.len();
    let total = (layers * windows.len()) as u64;
    let mut run = Run::new(model, settings, windows, total, progress)?;
    let mut none = Boundaries::new(0, run.tokens() * run.hidden, 0, settings.scratch)?;
    let stream = run.forward(0, layers, &mut none)?;
    let gain = model.global(Role::FinalNorm, DTYPE)?;
    let stream = Tensor::from_vec(stream, (run.tokens(), run.hidden), &Device::Cpu)?;
    let normed = rms_norm(&stream, &gain, f64::from(model.spec().norm_epsilon))?;
    let mut tokens = run.token_list();
    run.normalizers(&normed, &mut tokens)?;
    Ok(Side { model, normed, tokens })
}

/// The divergence at every token.
fn divergences(exact: &Side<'_>, changed: &Side<'_>) -> Result<Vec<f64>, CalibrateError> {
    let mut sums = vec![0.0; exact.tokens.len()];
    for first in (0..exact.model.spec().vocabulary as usize).step_by(Block::rows(exact.model)) {
        let (block, other) = (Block::read(exact.model, first)?, Block::read(changed.model, first)?);
        let width = block.width()?;
        for (tile, sums) in sums.chunks_mut(TOKENS).enumerate() {
            let (at, count) = (tile * TOKENS, sums.len());
            let own = block.logits(exact.model, &exact.normed.narrow(0, at, count)?)?;
            let others = other.logits(changed.model, &changed.normed.narrow(0, at, count)?)?;
            let rows = own.par_chunks_exact(width).zip(others.par_chunks_exact(width));
            let tokens = exact.tokens[at..at + count].par_iter().zip(&changed.tokens[at..at + count]);
            sums.par_iter_mut().zip(rows).zip(tokens).for_each(|((sum, (own, others)), (token, other))| {
                *sum += divergence(token.normalizer(), own, other.normalizer(), others);
            });
        }
    }
    Ok(sums)
}

/// `sum of p * ln(p / q)` over some of the vocabulary.
fn divergence(left_normalizer: f64, left: &[f32], right_normalizer: f64, right: &[f32]) -> f64 {
    let part = |(&left, &right): (&f32, &f32)| {
        let (p, q) = (f64::from(left) - left_normalizer, f64::from(right) - right_normalizer);
        p.exp() * (p - q)
    };
    left.iter().zip(right).map(part).sum()
}
