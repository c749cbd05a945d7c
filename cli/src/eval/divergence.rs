//! How far a model is from a reference: Kullback-Leibler divergence and top-1 agreement after every
//! token of a text.

use hardtack::Session;
use serde::Serialize;

use super::bootstrap::Estimate;
use super::envelope;
use super::finite::ensure_finite;
use super::likelihood::{divergence, largest, log_likelihood};
use super::mean::Mean;
use super::perplexity::Comparison;
use super::windows::{Windows, window_options};
use crate::args::DivergenceArguments;
use crate::output::show;
use crate::{interrupt, model};

/// Tokens whose logits of the reference are kept until the model has seen them too.
const TOKENS_AT_ONCE: usize = 32;

#[derive(Serialize)]
struct Report {
    /// Nats for each token, of the model from the reference.
    divergence_mean: f64,
    divergence_standard_error: f64,
    /// Of the mean, by a bootstrap over windows.
    divergence_interval: Option<[f64; 2]>,
    divergence_median: f64,
    divergence_99th_percentile: f64,
    divergence_largest: f64,
    /// Share of tokens after which both find the same token likeliest.
    top1_agreement: f64,
    top1_standard_error: f64,
    /// Of the share, by a bootstrap over windows.
    top1_interval: Option<[f64; 2]>,
    /// The share that 99 % of the windows reach.
    top1_99th_percentile: f64,
    reference_perplexity: f64,
    perplexity: f64,
    windows: usize,
    window_tokens: usize,
    scored_tokens: usize,
    /// Of keys and values, of those that a ring holds in codes; scales not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    kv_code_bits: Option<f64>,
    comparison: Comparison,
}

/// What is gathered over the scored tokens.
#[derive(Default)]
struct Scores {
    divergences: Vec<f64>,
    divergence: Mean,
    agreement: Mean,
    nats: Mean,
    reference_nats: Mean,
    windows: WindowMeans,
    kv_code_bits: Mean,
}

/// A mean over the scored tokens of each window.
#[derive(Default)]
struct WindowMeans {
    divergence: Vec<f64>,
    agreement: Vec<f64>,
    /// Nats for a token that the model takes more than the reference.
    nats_difference: Vec<f64>,
}

/// Measures and reports.
pub fn kld(arguments: &DivergenceArguments) -> anyhow::Result<()> {
    interrupt::catch()?;
    let size = arguments.on.windows.ctx;
    let [options, exact] = window_options(&arguments.on.kv, size, TOKENS_AT_ONCE.min(size));
    let engine = model::open(&arguments.blob, &arguments.on.engine, &options)?;
    let reference = model::open(&arguments.against, &arguments.on.engine, &exact)?;
    model::ensure_same_vocabulary(&engine, &reference)?;
    let tokenizer = model::tokenizer(&engine)?;
    let room = |bytes| {
        model::ensure_room(&engine, &options, &arguments.on.engine, bytes, "the text's tokens")
    };
    let windows = Windows::of(
        &arguments.on.text,
        &arguments.on.windows,
        tokenizer,
        [&engine, &reference],
        room,
    )?;
    let vocabulary = engine.network().spec.vocabulary as usize;
    let mut sessions = [reference.session(&exact)?, engine.session(&options)?];

    let mut scores = Scores::default();
    let done = windows.for_each(|window| {
        let before = scores.sums();
        compare(&mut sessions, window, windows.skip, vocabulary, &mut scores)?;
        // Latents have one number of bits, and zero for values that they do not have.
        let bits = sessions[1].kv_levels().flat_map(|(_, _, bits)| bits).filter(|&bits| bits > 0);
        bits.for_each(|bits| scores.kv_code_bits.add(bits.into()));
        scores.end_window(before);
        ensure_finite("perplexity", scores.nats.mean().exp())?;
        ensure_finite("the reference's perplexity", scores.reference_nats.mean().exp())?;
        ensure_finite("divergence", scores.divergence.mean())?;
        Ok(format!("divergence {:.5}", scores.divergence.mean()))
    })?;
    let report = report(arguments, &mut scores, done, windows.size);
    if arguments.on.json {
        let partial = done < windows.count;
        return envelope::print("kld", &arguments.blob, Some(&arguments.against), partial, &report);
    }
    show(&report.text())?;
    Ok(())
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

    /// Scored tokens, and sums over them of divergence, agreement and nats more than the
    /// reference's.
    fn sums(&self) -> [f64; 4] {
        let count = self.divergence.count() as f64;
        [
            count,
            self.divergence.sum(),
            self.agreement.sum(),
            self.nats.sum() - self.reference_nats.sum(),
        ]
    }

    /// Keeps the means of a window that began at these sums.
    fn end_window(&mut self, before: [f64; 4]) {
        let after = self.sums();
        let mean = |index: usize| (after[index] - before[index]) / (after[0] - before[0]);
        self.windows.divergence.push(mean(1));
        self.windows.agreement.push(mean(2));
        self.windows.nats_difference.push(mean(3));
    }
}

/// The number below which this share of sorted numbers lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[(share * (sorted.len() - 1) as f64).round() as usize]
}

fn report(
    arguments: &DivergenceArguments,
    scores: &mut Scores,
    windows: usize,
    window_tokens: usize,
) -> Report {
    let interval = |means: &[f64]| Estimate::of(means, &arguments.on.bootstrap).interval;
    let (divergence_interval, top1_interval) =
        (interval(&scores.windows.divergence), interval(&scores.windows.agreement));
    let reference_perplexity = scores.reference_nats.mean().exp();
    let comparison = Comparison::of(
        &scores.windows.nats_difference,
        reference_perplexity,
        &arguments.on.bootstrap,
    );
    scores.divergences.sort_by(f64::total_cmp);
    scores.windows.agreement.sort_by(f64::total_cmp);
    Report {
        divergence_mean: scores.divergence.mean(),
        divergence_standard_error: scores.divergence.standard_error(),
        divergence_interval,
        divergence_median: quantile(&scores.divergences, 0.5),
        divergence_99th_percentile: quantile(&scores.divergences, 0.99),
        divergence_largest: quantile(&scores.divergences, 1.0),
        top1_agreement: scores.agreement.mean(),
        top1_standard_error: scores.agreement.standard_error(),
        top1_interval,
        top1_99th_percentile: quantile(&scores.windows.agreement, 0.01),
        reference_perplexity,
        perplexity: scores.nats.mean().exp(),
        windows,
        window_tokens,
        scored_tokens: scores.divergence.count(),
        kv_code_bits: (scores.kv_code_bits.count() > 0).then(|| scores.kv_code_bits.mean()),
        comparison,
    }
}

impl Report {
    /// For people.
    fn text(&self) -> String {
        let kv = self
            .kv_code_bits
            .map_or(String::new(), |bits| format!("keys and values at {bits:.3} bits a code\n"));
        format!(
            "{kv}divergence {:.5} +- {:.5} nats a token (median {:.5}, 99 % below {:.4}, largest {:.3})\n\
             same likeliest token {:.2} +- {:.2} % (99 % of the windows reach {:.2} %)\n\
             perplexity {:.4} over {} tokens in {} windows of {}\n{}",
            self.divergence_mean,
            self.divergence_standard_error,
            self.divergence_median,
            self.divergence_99th_percentile,
            self.divergence_largest,
            self.top1_agreement * 100.0,
            self.top1_standard_error * 100.0,
            self.top1_99th_percentile * 100.0,
            self.perplexity,
            self.scored_tokens,
            self.windows,
            self.window_tokens,
            self.comparison.show()
        )
    }
}
