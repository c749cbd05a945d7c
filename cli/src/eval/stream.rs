//! Perplexity of one long text that is fed without a break: how a conversation without end goes on.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use hardtack::{Engine, SessionOptions};
use serde::Serialize;

use super::envelope;
use super::finite::ensure_finite;
use super::likelihood::log_likelihood;
use super::mean::Mean;
use super::text;
use crate::args::StreamArguments;
use crate::output::show;
use crate::size::show_bytes;
use crate::{interrupt, model, progress};

/// Tokens of a stretch that are fed at once: whole batches, and Ctrl-C is heard between them.
const PIECE: usize = 1024;

/// Tokens that an exact window is filled anew for.
const STRIDE: usize = 64;

#[derive(Serialize)]
struct Report {
    tokens: usize,
    kv_bytes: u64,
    stretches: Vec<Stretch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<Window>,
}

/// Consecutive tokens.
#[derive(Serialize)]
struct Stretch {
    /// Tokens up to its end.
    end: usize,
    perplexity: f64,
    tokens_per_second: f64,
    /// What the system counts as resident at its end, where it says so.
    resident_bytes: Option<u64>,
}

/// The last stretch as an exact cache sees it.
#[derive(Serialize)]
struct Window {
    tokens: usize,
    kv_bytes: u64,
    perplexity: f64,
    /// The stream's perplexity as a share of it.
    ratio: f64,
}

/// Measures and reports.
pub fn stream(arguments: &StreamArguments) -> anyhow::Result<()> {
    interrupt::catch()?;
    let options = model::session_options(&arguments.session);
    let engine = model::open(&arguments.blob, &arguments.engine, &options)?;
    let stretch = arguments.stretch;
    ensure!(
        stretch > 0 && arguments.tokens >= stretch,
        "at least one stretch of one token is needed"
    );
    let room = |bytes| {
        model::ensure_room(&engine, &options, &arguments.engine, bytes, "the text's tokens")
    };
    let text = text_tokens(&engine, &arguments.text, arguments.tokens, room)?;
    let token = |position: usize| text[position % text.len()];
    let mut session = engine.session(&options)?;
    let mut tokens = Vec::new();
    let mut stretches: Vec<Stretch> = Vec::new();
    let done = progress::for_each(arguments.tokens / stretch, "stretches", |index| {
        let (first, start) = (index * stretch, Instant::now());
        let mut nats = Mean::default();
        for begin in (first..first + stretch).step_by(PIECE) {
            tokens.clear();
            tokens.extend((begin..(begin + PIECE).min(first + stretch)).map(token));
            session.feed_each(&tokens, |at, logits| {
                nats.add(-log_likelihood(logits, token(begin + at + 1)))
            })?;
            if interrupt::requested() {
                return Ok(None);
            }
        }
        ensure_finite("perplexity", nats.mean().exp())?;
        stretches.push(Stretch {
            end: first + stretch,
            perplexity: nats.mean().exp(),
            tokens_per_second: stretch as f64 / start.elapsed().as_secs_f64(),
            resident_bytes: resident_bytes(),
        });
        Ok(Some(format!("perplexity {:.4}", nats.mean().exp())))
    })?;
    ensure!(done > 0, "interrupted before the end of the first stretch");
    let last = stretches.last().expect("at least one");
    let kv_bytes = session.kv_bytes();
    let window = match arguments.window {
        Some(size) if !interrupt::requested() => {
            Some(exact_window(&engine, arguments, size, last, token).context("the window")?)
        }
        _ => None,
    };
    let report = Report { tokens: last.end, kv_bytes, stretches, window };
    if arguments.json {
        let partial = report.tokens < arguments.tokens / stretch * stretch;
        return envelope::print("stream", &arguments.blob, None, partial, &report);
    }
    Ok(show(&report.text())?)
}

/// The text's tokens, which the model was not calibrated on; `most` of them at most. `room` is
/// asked whether the bytes for them may be taken.
pub fn text_tokens(
    engine: &Engine,
    file: &Path,
    most: usize,
    room: impl Fn(u64) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<u32>> {
    let tokenizer = model::tokenizer(engine)?;
    let mut tokens = text::read(file, tokenizer, [engine], most, room)?.tokens;
    if let Some(begin) = tokenizer.begin() {
        tokens.insert(0, begin);
    }
    Ok(tokens)
}

/// Judges a stretch in pieces of [`STRIDE`] tokens, each after as many of the tokens before it as
/// the window has room for.
fn exact_window(
    engine: &Engine,
    arguments: &StreamArguments,
    size: usize,
    stretch: &Stretch,
    token: impl Fn(usize) -> u32 + Sync,
) -> anyhow::Result<Window> {
    ensure!(size > STRIDE, "expected more than {STRIDE} tokens, found {size}");
    let kv = model::exact_kv(arguments.session.kv.kv_type);
    let mut session = engine
        .session(&SessionOptions::new().context(size).batch(arguments.session.batch).kv(kv))?;
    let first = stretch.end - arguments.stretch;
    let mut nats = Mean::default();
    for piece in (first..stretch.end).step_by(STRIDE) {
        let end = (piece + STRIDE).min(stretch.end);
        let begin = end.saturating_sub(size);
        let tokens: Vec<u32> = (begin..end).map(&token).collect();
        session.truncate(0);
        session.feed(&tokens[..piece - begin])?;
        let scored = &tokens[piece - begin..];
        session.feed_each(scored, |at, logits| {
            nats.add(-log_likelihood(logits, token(piece + at + 1)))
        })?;
    }
    let perplexity = nats.mean().exp();
    Ok(Window {
        tokens: size,
        kv_bytes: session.kv_bytes(),
        perplexity,
        ratio: stretch.perplexity / perplexity,
    })
}

/// What Linux counts as resident.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

impl Report {
    /// For people.
    fn text(&self) -> String {
        let mut text =
            format!("{} tokens, keys and values in {} bytes\n", self.tokens, self.kv_bytes);
        for stretch in &self.stretches {
            let resident = stretch
                .resident_bytes
                .map_or(String::new(), |bytes| format!(", {bytes} bytes resident"));
            text += &format!(
                "to {:>8}: perplexity {:>9.4}, {:>7.1} tokens a second{resident}\n",
                stretch.end, stretch.perplexity, stretch.tokens_per_second
            );
        }
        if let Some(window) = &self.window {
            text += &format!(
                "the last stretch in a window of {} tokens at {}: perplexity {:.4}, ratio {:.4}\n",
                window.tokens,
                show_bytes(window.kv_bytes),
                window.perplexity,
                window.ratio
            );
        }
        text
    }
}
