//! The KV policy of a blob: made last, on the weights and routers that it will hold.

use std::path::PathBuf;

use hardtack_format::spec::ModelSpec;

use super::composition::rounded;
use super::error::BakeError;
use super::provenance::KvAbout;
use crate::calibrate::kv::{Learned, bytes_max, policy};
use crate::calibrate::{CalibrateError, Model, Progress, Sampler, Sampling, Settings, kv_chunks};

/// Windows that are tried, longest first: a chunk's cost is what later tokens lose, so they should
/// be as long as time, the context and the texts allow (attention in the graph takes the square of
/// it).
const WINDOWS: [usize; 3] = [1024, 512, 256];

/// A section and what is said about it.
pub struct KvSection {
    /// The section.
    pub bytes: Vec<u8>,
    /// What is said about it.
    pub about: KvAbout,
}

/// Makes the policy of a model on some texts, at most `tokens` of each; none where the texts or
/// the model's context are too short.
///
/// # Errors
/// The model or a text is no use, or the settings' `stop` was set.
pub fn section(
    model: &Model,
    sampler: &Sampler,
    texts: &[(String, PathBuf)],
    tokens: usize,
    settings: &Settings<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Option<KvSection>, BakeError> {
    let context = model.spec().context_max as usize;
    for window in WINDOWS.into_iter().filter(|&window| window <= context.min(tokens)) {
        let sampling = Sampling { window, tokens, held_out_tokens: (tokens / 2).max(window) };
        let samples: Result<Vec<_>, _> =
            texts.iter().map(|(name, path)| sampler.sample(name, path, sampling)).collect();
        let samples = match samples {
            // A shorter window may still be found in it.
            Err(CalibrateError::Text { .. }) => continue,
            samples => samples?,
        };
        let (fit, held_out): (Vec<_>, Vec<_>) =
            samples.into_iter().map(|own| (own.fit, own.held_out)).unzip();
        let settings = Settings { domain_tokens_min: window, options: Vec::new(), ..*settings };
        let mut before = 0;
        let mut chunks = |texts, last: bool| {
            let mut end = 0;
            let chunks = kv_chunks(model, texts, &settings, &mut |own: Progress| {
                end = own.total;
                progress(before + own.done, before + own.total * if last { 1 } else { 2 });
            });
            before += end;
            chunks
        };
        let (fit, held_out) = (chunks(&fit, false)?, chunks(&held_out, true)?);
        let Some((policy, learned)) = policy(model.spec(), &fit, &held_out) else {
            return Ok(None);
        };
        let about = KvAbout {
            window,
            tokens,
            averages: policy.prices.iter().map(|price| rounded(price.bits.into())).collect(),
            routers: learned.iter().map(|own| rounded(own.share)).collect(),
            kept: layers(&learned, Learned::kept),
            shared: layers(&learned, |own| own.kept() && own.layers > 1),
        };
        return Ok(Some(KvSection { bytes: policy.to_bytes(), about }));
    }
    Ok(None)
}

fn layers(learned: &[Learned], which: impl Fn(&Learned) -> bool) -> Vec<usize> {
    learned.iter().enumerate().filter(|(_, own)| which(own)).map(|(layer, _)| layer).collect()
}

/// Most bytes that a policy and what is said about it add to a blob.
pub fn room(spec: &ModelSpec) -> u64 {
    /// Of one number as JSON on a line of its own, and of everything else.
    const NUMBER_BYTES: u64 = 32;
    bytes_max(spec) + NUMBER_BYTES * (16 + 3 * spec.layers.len() as u64)
}
