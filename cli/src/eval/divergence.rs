//! How far a model is from a reference: Kullback-Leibler divergence and top-1 agreement after every token of a text.

use anyhow::ensure;
use hardtack::{Session, SessionOptions};
use serde::Serialize;

use super::likelihood::{divergence, largest, log_likelihood};
use super::mean::Mean;
use super::windows::Windows;
use crate::args::DivergenceArguments;
use crate::model;
use crate::output::show;

/// Tokens whose logits of the reference are kept until the model has seen them too.
const TOKENS_AT_ONCE: usize = 32;

#[derive(Serialize)]
struct Report {
    /// Nats for each token, of the model from the reference.
    divergence_mean: f64,
    divergence_standard_error: f64,
    divergence_median: f64,
    divergence_99th_percentile: f64,
    divergence_largest: f64,
    /// Share of tokens after which both find the same token likeliest.
    top1_agreement: f64,
    top1_standard_error: f64,
    reference_perplexity: f64,
    perplexity: f64,
    windows: usize,
    window_tokens: usize,
    scored_tokens: usize,
}

/// What is gathered over the scored tokens.
#[derive(Default)]
struct Scores {
    divergences: Vec<f64>,
    divergence: Mean,
    agreement: Mean,
    nats: Mean,
    reference_nats: Mean,
}

/// Measures and reports.
pub fn kld(arguments: &DivergenceArguments) -> anyhow::Result<()> {
    let engine = model::open(&arguments.blob, &arguments.engine)?;
    let reference = model::open(&arguments.against, &arguments.engine)?;
    let (found, expected) = (engine.network().spec.vocabulary, reference.network().spec.vocabulary);
    let (blob, against) = (arguments.blob.display(), arguments.against.display());
    ensure!(found == expected, "{blob}: expected the vocabulary of {against}, {expected} tokens, found {found}");
    let tokenizer = model::tokenizer(&engine)?;
    let windows = Windows::of(&arguments.text, &arguments.windows, &tokenizer)?;
    let kv = model::kv(arguments.kv_type);
    let options = SessionOptions { context: windows.size, batch: TOKENS_AT_ONCE.min(windows.size), kv };
    let mut sessions = [reference.session(&options)?, engine.session(&options)?];

    let mut scores = Scores::default();
    let done = windows.for_each(|window| {
        compare(&mut sessions, window, windows.skip, found as usize, &mut scores)?;
        Ok(format!("divergence {:.5}", scores.divergence.mean()))
    })?;
    report(arguments.json, &mut scores, done, windows.size)
}

/// Feeds a window to both, a few tokens at a time.
fn compare(
    [reference, model]: &mut [Session; 2],
    window: &[u32],
    skip: usize,
    vocabulary: usize,
    scores: &mut Scores,
) -> anyhow::Result<()> {
    reference.truncate(0);
    model.truncate(0);
    let mut kept = Vec::with_capacity(TOKENS_AT_ONCE * vocabulary);
    for (piece_index, piece) in window.chunks(TOKENS_AT_ONCE).enumerate() {
        kept.clear();
        reference.feed_each(piece, |_, logits| kept.extend_from_slice(logits))?;
        model.feed_each(piece, |index, logits| {
            let position = piece_index * TOKENS_AT_ONCE + index;
            if let Some(&next) = window.get(position + 1).filter(|_| position >= skip) {
                scores.add(&kept[index * vocabulary..(index + 1) * vocabulary], logits, next);
            }
        })?;
    }
    Ok(())
}

impl Scores {
    fn add(&mut self, reference: &[f32], model: &[f32], next: u32) {
        let nats = divergence(reference, model);
        self.divergences.push(nats);
        self.divergence.add(nats);
        self.agreement.add(f64::from(u8::from(largest(reference).0 == largest(model).0)));
        self.nats.add(-log_likelihood(model, next));
        self.reference_nats.add(-log_likelihood(reference, next));
    }

    /// The divergence below which this share of the tokens lies.
    fn quantile(&self, share: f64) -> f64 {
        let last = self.divergences.len() - 1;
        self.divergences[(share * last as f64).round() as usize]
    }
}

fn report(json: bool, scores: &mut Scores, windows: usize, window_tokens: usize) -> anyhow::Result<()> {
    scores.divergences.sort_by(f64::total_cmp);
    let report = Report {
        divergence_mean: scores.divergence.mean(),
        divergence_standard_error: scores.divergence.standard_error(),
        divergence_median: scores.quantile(0.5),
        divergence_99th_percentile: scores.quantile(0.99),
        divergence_largest: scores.quantile(1.0),
        top1_agreement: scores.agreement.mean(),
        top1_standard_error: scores.agreement.standard_error(),
        reference_perplexity: scores.reference_nats.mean().exp(),
        perplexity: scores.nats.mean().exp(),
        windows,
        window_tokens,
        scored_tokens: scores.divergence.count(),
    };
    if json {
        return Ok(show(&format!("{}\n", serde_json::to_string_pretty(&report)?))?);
    }
    show(&format!(
        "divergence {:.5} +- {:.5} nats a token (median {:.5}, 99 % below {:.4}, largest {:.3})\n\
         same likeliest token {:.2} +- {:.2} %\n\
         perplexity {:.4}, reference {:.4}, over {} tokens in {} windows of {}\n",
        report.divergence_mean,
        report.divergence_standard_error,
        report.divergence_median,
        report.divergence_99th_percentile,
        report.divergence_largest,
        report.top1_agreement * 100.0,
        report.top1_standard_error * 100.0,
        report.perplexity,
        report.reference_perplexity,
        report.scored_tokens,
        report.windows,
        report.window_tokens
    ))?;
    Ok(())
}
