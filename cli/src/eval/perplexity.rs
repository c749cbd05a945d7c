//! Perplexity: the exponential of the mean negative log-likelihood of every token given those before it in its window.

use std::fs;
use std::time::Instant;

use anyhow::{Context, ensure};
use hardtack::text::Special;
use hardtack::{Session, SessionOptions};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::args::PerplexityArguments;
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
}

/// Sums over scored tokens.
#[derive(Default)]
struct Sums {
    nats: f64,
    squares: f64,
    tokens: usize,
    bytes: usize,
}

/// Measures and reports.
pub fn perplexity(arguments: &PerplexityArguments) -> anyhow::Result<()> {
    let engine = model::open(&arguments.blob, &arguments.engine)?;
    let tokenizer = model::tokenizer(&engine)?;
    let path = arguments.text.display();
    let text = fs::read_to_string(&arguments.text).with_context(|| format!("{path}"))?;
    let tokens = tokenizer.encode(&text, Special::Plain).with_context(|| format!("{path}"))?;
    let (size, skip) = (arguments.ctx, arguments.skip);
    ensure!(size >= 2 && skip + 1 < size, "a window of {size} tokens with {skip} skipped has nothing to score");
    let all = tokens.len() / size;
    ensure!(all > 0, "{path}: {} tokens, but one window takes {size}", tokens.len());
    let windows = if arguments.windows == 0 { all } else { arguments.windows.min(all) };

    interrupt::catch()?;
    let kv = model::kv(arguments.kv_type);
    let batch = arguments.batch.min(size);
    let mut session = engine.session(&SessionOptions { context: size, batch, kv })?;
    let style = "{bar:30} {pos}/{len} windows {eta} {msg}";
    let bar = ProgressBar::new(windows as u64).with_style(ProgressStyle::with_template(style)?);
    let start = Instant::now();
    let mut sums = Sums::default();
    let mut window = Vec::with_capacity(size);
    for index in 0..windows {
        if interrupt::requested() {
            break;
        }
        window.clear();
        window.extend_from_slice(&tokens[index * size..(index + 1) * size]);
        // The model expects its begin token where a text begins; it takes the place of the window's first token.
        if let Some(begin) = tokenizer.begin() {
            window[0] = begin;
        }
        score(&mut session, &window, skip, &mut sums, |token| tokenizer.bytes(token).len())?;
        bar.set_message(format!("perplexity {:.4}", (sums.nats / sums.tokens as f64).exp()));
        bar.inc(1);
    }
    let done = bar.position() as usize;
    bar.finish_and_clear();
    ensure!(sums.tokens > 0, "interrupted before the first window");
    let seconds = start.elapsed().as_secs_f64();
    report(arguments, &sums, done, tokens.len(), (done * size) as f64 / seconds)
}

fn score(
    session: &mut Session,
    window: &[u32],
    skip: usize,
    sums: &mut Sums,
    bytes: impl Fn(u32) -> usize + Sync,
) -> anyhow::Result<()> {
    session.truncate(0);
    session.feed_each(window, |index, logits| {
        let Some(&next) = window.get(index + 1).filter(|_| index >= skip) else { return };
        let nats = -log_likelihood(logits, next);
        sums.nats += nats;
        sums.squares += nats * nats;
        sums.tokens += 1;
        sums.bytes += bytes(next);
    })?;
    Ok(())
}

/// `ln softmax(logits)[token]`
fn log_likelihood(logits: &[f32], token: u32) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    f64::from(logits[token as usize] - largest) - sum.ln()
}

fn report(
    arguments: &PerplexityArguments,
    sums: &Sums,
    windows: usize,
    text_tokens: usize,
    tokens_per_second: f64,
) -> anyhow::Result<()> {
    let count = sums.tokens as f64;
    let mean = sums.nats / count;
    let variance = (sums.squares / count - mean * mean).max(0.0) / (count - 1.0).max(1.0);
    let report = Report {
        perplexity: mean.exp(),
        standard_error: mean.exp() * variance.sqrt(),
        nats_per_token: mean,
        bits_per_byte: sums.nats / std::f64::consts::LN_2 / sums.bytes as f64,
        windows,
        window_tokens: arguments.ctx,
        scored_tokens: sums.tokens,
        text_tokens,
        tokens_per_second,
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
