//! Perplexity: the exponential of the mean negative log-likelihood of every token given those
//! before it in its window.

use std::time::Instant;

use hardtack::{Engine, Session, SessionOptions};
use serde::Serialize;

use super::bootstrap::Estimate;
use super::envelope;
use super::finite::ensure_finite;
use super::likelihood::log_likelihood;
use super::mean::Mean;
use super::windows::{Windows, window_options};
use crate::args::{BootstrapArguments, PerplexityArguments};
use crate::output::show;
use crate::{interrupt, model};

#[derive(Serialize)]
struct Report {
    perplexity: f64,
    /// Of the perplexity, from the spread of the tokens' likelihoods.
    standard_error: f64,
    nats_per_token: f64,
    bits_per_byte: f64,
    windows: usize,
    window_tokens: usize,
    scored_tokens: usize,
    text_tokens: usize,
    tokens_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Comparison>,
}

/// Two models on the same windows.
#[derive(Serialize)]
pub struct Comparison {
    /// Of the model compared with.
    perplexity: f64,
    /// Nats for each token that the judged model takes more: over windows, each the mean of its
    /// tokens.
    nats_difference: Estimate,
    /// The judged model's perplexity as a share of the other's.
    perplexity_ratio: f64,
    perplexity_ratio_interval: Option<[f64; 2]>,
}

impl Comparison {
    /// Of each window's mean nats for a token less the other model's, where every window has as
    /// many tokens.
    pub fn of(differences: &[f64], other_perplexity: f64, arguments: &BootstrapArguments) -> Self {
        let nats = Estimate::of(differences, arguments);
        Self {
            perplexity: other_perplexity,
            perplexity_ratio: nats.mean.exp(),
            perplexity_ratio_interval: nats.interval.map(|interval| interval.map(f64::exp)),
            nats_difference: nats,
        }
    }

    /// A line for people.
    pub fn show(&self) -> String {
        let ratio = self
            .perplexity_ratio_interval
            .map_or(String::new(), |[low, high]| format!(" ({low:.4} to {high:.4})"));
        let nats = &self.nats_difference;
        format!(
            "against {:.4}: ratio {:.4}{ratio}, {:+.5} nats a token (95 %: {}): {}\n",
            self.perplexity,
            self.perplexity_ratio,
            nats.mean,
            nats.show_interval(1.0, 5),
            nats.verdict()
        )
    }
}

/// A model and what it made of the windows so far.
struct Judged {
    session: Session,
    nats: Mean,
    window_nats: Vec<f64>,
}

impl Judged {
    fn new(engine: &Engine, options: &SessionOptions) -> anyhow::Result<Self> {
        Ok(Self {
            session: engine.session(options)?,
            nats: Mean::default(),
            window_nats: Vec::new(),
        })
    }

    fn score(&mut self, window: &[u32], skip: usize) -> anyhow::Result<()> {
        let mut nats = Mean::default();
        self.session.truncate(0);
        self.session.feed_each(window, |index, logits| {
            if let Some(&next) = window.get(index + 1).filter(|_| index >= skip) {
                nats.add(-log_likelihood(logits, next));
            }
        })?;
        self.window_nats.push(nats.mean());
        self.nats.merge(nats);
        Ok(())
    }
}

/// Measures and reports.
pub fn perplexity(arguments: &PerplexityArguments) -> anyhow::Result<()> {
    interrupt::catch()?;
    let size = arguments.on.windows.ctx;
    let [options, exact] = window_options(&arguments.on.kv, size, arguments.batch.min(size));
    let engine = model::open(&arguments.blob, &arguments.on.engine, &options)?;
    let other = arguments
        .against
        .as_ref()
        .map(|blob| model::open(blob, &arguments.on.engine, &exact))
        .transpose()?;
    if let Some(other) = &other {
        model::ensure_same_vocabulary(&engine, other)?;
    }
    let tokenizer = model::tokenizer(&engine)?;
    let models = [&engine].into_iter().chain(&other);
    let room = |bytes| {
        model::ensure_room(&engine, &options, &arguments.on.engine, bytes, "the text's tokens")
    };
    let windows = Windows::of(&arguments.on.text, &arguments.on.windows, tokenizer, models, room)?;
    let skip = windows.skip;
    let mut judged = Judged::new(&engine, &options)?;
    let mut compared = other.as_ref().map(|other| Judged::new(other, &exact)).transpose()?;

    let start = Instant::now();
    let mut bytes = 0;
    let done = windows.for_each(|window| {
        judged.score(window, skip)?;
        if let Some(compared) = &mut compared {
            compared.score(window, skip)?;
        }
        let worst = [Some(&judged), compared.as_ref()]
            .into_iter()
            .flatten()
            .map(|own| own.nats.mean().exp());
        worst.into_iter().try_for_each(|perplexity| ensure_finite("perplexity", perplexity))?;
        bytes +=
            window[skip + 1..].iter().map(|&token| tokenizer.bytes(token).len()).sum::<usize>();
        Ok(format!("perplexity {:.4}", judged.nats.mean().exp()))
    })?;
    let (nats, perplexity) = (judged.nats, judged.nats.mean().exp());
    let comparison = compared.map(|compared| {
        let differences: Vec<f64> = judged
            .window_nats
            .iter()
            .zip(&compared.window_nats)
            .map(|(own, other)| own - other)
            .collect();
        Comparison::of(&differences, compared.nats.mean().exp(), &arguments.on.bootstrap)
    });
    let report = Report {
        perplexity,
        standard_error: perplexity * nats.standard_error(),
        nats_per_token: nats.mean(),
        bits_per_byte: nats.sum() / std::f64::consts::LN_2 / bytes as f64,
        windows: done,
        window_tokens: size,
        scored_tokens: nats.count(),
        text_tokens: windows.text_tokens(),
        tokens_per_second: (done * size) as f64 / start.elapsed().as_secs_f64(),
        comparison,
    };
    if arguments.on.json {
        let partial = done < windows.count;
        return envelope::print(
            "ppl",
            &arguments.blob,
            arguments.against.as_deref(),
            partial,
            &report,
        );
    }
    show(&report.text())?;
    Ok(())
}

impl Report {
    /// For people.
    fn text(&self) -> String {
        let comparison = self.comparison.as_ref().map_or(String::new(), Comparison::show);
        format!(
            "perplexity {:.4} +- {:.4} ({:.4} bits per byte) over {} tokens in {} windows of {}; {:.1} tokens a second\n\
             {comparison}",
            self.perplexity,
            self.standard_error,
            self.bits_per_byte,
            self.scored_tokens,
            self.windows,
            self.window_tokens,
            self.tokens_per_second
        )
    }
}
