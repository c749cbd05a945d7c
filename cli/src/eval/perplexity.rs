//! Perplexity: the exponential of the mean negative log-likelihood of every token given those before it in its window.

use std::time::Instant;

use hardtack::SessionOptions;
use serde::Serialize;

use super::likelihood::log_likelihood;
use super::mean::Mean;
use super::windows::Windows;
use crate::args::PerplexityArguments;
use crate::model;
use crate::output::show;

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
}

/// Measures and reports.
pub fn perplexity(arguments: &PerplexityArguments) -> anyhow::Result<()> {
    let engine = model::open(&arguments.blob, &arguments.engine)?;
    let tokenizer = model::tokenizer(&engine)?;
    let windows = Windows::of(&arguments.text, &arguments.windows, &tokenizer)?;
    let (size, skip) = (windows.size, windows.skip);
    let kv = model::kv(arguments.kv_type);
    let mut session = engine.session(&SessionOptions { context: size, batch: arguments.batch.min(size), kv })?;

    let start = Instant::now();
    let (mut nats, mut bytes) = (Mean::default(), 0);
    let done = windows.for_each(|window| {
        session.truncate(0);
        session.feed_each(window, |index, logits| {
            if let Some(&next) = window.get(index + 1).filter(|_| index >= skip) {
                nats.add(-log_likelihood(logits, next));
                bytes += tokenizer.bytes(next).len();
            }
        })?;
        Ok(format!("perplexity {:.4}", nats.mean().exp()))
    })?;
    let perplexity = nats.mean().exp();
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
    };
    if arguments.json {
        show(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    } else {
        show(&format!(
            "perplexity {:.4} +- {:.4} ({:.4} bits per byte) over {} tokens in {} windows of {}; {:.1} tokens a second\n",
            report.perplexity,
            report.standard_error,
            report.bits_per_byte,
            report.scored_tokens,
            report.windows,
            report.window_tokens,
            report.tokens_per_second
        ))?;
    }
    Ok(())
}
