//! How far a changed model is from the checkpoint on given text: losses of both, and the divergence
//! of their predictions.

use std::ops::Range;

use candle_core::{Device, Tensor};
use hardtack_format::Role;
use rayon::prelude::*;

use super::head::{Block, TOKENS, Token};
use super::run::Run;
use super::settings::{DTYPE, Progress, Settings};
use crate::calibrate::error::CalibrateError;
use crate::calibrate::graph::rms_norm;
use crate::calibrate::model::Model;
use crate::calibrate::text::{Domain, windows};

/// A changed model beside the checkpoint on one text, everything as a mean over the predicted
/// tokens, in nats.
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

/// The stream of a model before one of its layers, or after the last, for all windows of some
/// texts.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Layers after it.
    layer: usize,
    /// `[tokens, hidden]`.
    rows: Vec<f32>,
}

/// The final, normalized stream of one model, and the normalizers of its predictions.
struct Side<'a> {
    model: &'a Model,
    normed: Tensor,
    tokens: Vec<Token>,
}

/// A checkpoint's own predictions on some texts, which changed models are held against.
pub struct Judge<'a> {
    exact: Side<'a>,
    domains: &'a [Domain],
    settings: &'a Settings<'a>,
}

impl<'a> Judge<'a> {
    /// Runs the checkpoint. Progress counts windows, once for every layer.
    ///
    /// # Errors
    /// The checkpoint or a text is no use, the checkpoint's loss on one is not finite, or `stop`
    /// was set.
    pub fn new(
        exact: &'a Model,
        domains: &'a [Domain],
        settings: &'a Settings<'a>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, CalibrateError> {
        let stream = begin(exact, domains, settings)?;
        let exact = side(exact, stream, domains, settings, progress)?;
        for token in exact.tokens.iter().filter(|token| token.target.is_some()) {
            finite(&domains[token.domain], "the checkpoint's loss", token.loss())?;
        }
        Ok(Self { exact, domains, settings })
    }

    /// The stream of a model before its first layer.
    ///
    /// # Errors
    /// The model is no use.
    pub fn begin(&self, model: &Model) -> Result<Stream, CalibrateError> {
        begin(model, self.domains, self.settings)
    }

    /// Brings a stream on to a later layer of a model.
    ///
    /// # Errors
    /// The model is no use, or `stop` was set.
    pub fn advance(
        &self,
        stream: &mut Stream,
        layer: usize,
        model: &Model,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), CalibrateError> {
        run(model, stream.layer..layer, self.domains, self.settings, progress)?
            .run_layers(stream.layer..layer, &mut stream.rows)?;
        stream.layer = layer;
        Ok(())
    }

    /// Judges a model on each of the texts.
    ///
    /// # Errors
    /// The model is no use, a loss or a divergence is not finite, or `stop` was set.
    pub fn judge(
        &self,
        changed: &Model,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Judged>, CalibrateError> {
        self.judge_from(self.begin(changed)?, changed, progress)
    }

    /// The same from a stream that another model made, one that is the same up to there.
    ///
    /// # Errors
    /// Those of [`Judge::judge`].
    pub fn judge_from(
        &self,
        stream: Stream,
        changed: &Model,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Judged>, CalibrateError> {
        let changed = side(changed, stream, self.domains, self.settings, progress)?;
        let divergences = divergences(&self.exact, &changed)?;
        let none = |own: &Domain| Judged {
            domain: own.name.clone(),
            tokens: 0,
            exact: 0.0,
            changed: 0.0,
            divergence: 0.0,
        };
        let mut judged: Vec<Judged> = self.domains.iter().map(none).collect();
        for ((exact, changed), divergence) in
            self.exact.tokens.iter().zip(&changed.tokens).zip(divergences)
        {
            if exact.target.is_some() {
                let own = &mut judged[exact.domain];
                own.tokens += 1;
                own.exact += exact.loss();
                own.changed += changed.loss();
                own.divergence += divergence;
            }
        }
        for (own, domain) in judged.iter_mut().zip(self.domains) {
            let count = own.tokens.max(1) as f64;
            own.exact /= count;
            own.changed /= count;
            own.divergence /= count;
            finite(domain, "the changed model's loss", own.changed)?;
            finite(domain, "the divergence from the checkpoint", own.divergence)?;
        }
        Ok(judged)
    }
}

/// A verdict that is no number must not be kept, compared with another, or printed: `NaN < x` is
/// false, and so would say that nothing is wrong.
fn finite(domain: &Domain, what: &'static str, found: f64) -> Result<(), CalibrateError> {
    if found.is_finite() {
        Ok(())
    } else {
        Err(CalibrateError::NotFinite { domain: domain.name.clone(), what, found })
    }
}

/// A pass of a model through some of its layers.
fn run<'a>(
    model: &'a Model,
    layers: Range<usize>,
    domains: &'a [Domain],
    settings: &'a Settings<'a>,
    progress: &'a mut dyn FnMut(Progress),
) -> Result<Run<'a>, CalibrateError> {
    let windows = windows(domains, model.spec(), settings.domain_tokens_min)?;
    let total = (layers.len() * windows.len()) as u64;
    Run::new(model, settings, windows, total, progress)
}

fn begin(
    model: &Model,
    domains: &[Domain],
    settings: &Settings<'_>,
) -> Result<Stream, CalibrateError> {
    Ok(Stream { layer: 0, rows: run(model, 0..0, domains, settings, &mut |_| ())?.begin()? })
}

fn side<'a>(
    model: &'a Model,
    mut stream: Stream,
    domains: &[Domain],
    settings: &Settings<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Side<'a>, CalibrateError> {
    let layers = stream.layer..model.spec().layers.len();
    let mut run = run(model, layers.clone(), domains, settings, progress)?;
    run.run_layers(layers, &mut stream.rows)?;
    let gain = model.global(Role::FinalNorm, DTYPE)?;
    let stream = Tensor::from_vec(stream.rows, (run.tokens(), run.hidden), &Device::Cpu)?;
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
            let tokens =
                exact.tokens[at..at + count].par_iter().zip(&changed.tokens[at..at + count]);
            sums.par_iter_mut().zip(rows).zip(tokens).for_each(
                |((sum, (own, others)), (token, other))| {
                    *sum += divergence(token.normalizer(), own, other.normalizer(), others);
                },
            );
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
