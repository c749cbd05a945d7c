//! The exact map of bytes for a model in a memory budget, made before the first weight is read.

use hardtack_format::network::{BlockTensors, FeedForwardTensors, LayerTensors};
use hardtack_format::spec::AttentionSpec;
use hardtack_format::{Blob, Network, SectionKind};

use crate::error::Error;
use crate::kv::{KvPrecision, KvSize, RingOptions};
use crate::sample::Sampler;
use crate::scratch::ScratchSizes;

/// Tokens kept if nothing else is asked for and the model was trained for as many.
pub const CONTEXT_DEFAULT: usize = 4096;
/// Tokens processed at once if nothing else is asked for.
pub const BATCH_DEFAULT: usize = 64;
/// Most tokens processed at once.
pub const BATCH_MAX: usize = 1024;

/// Bytes that reading a `tokenizer.json` takes at its peak, for each of its bytes: 31 were measured for a vocabulary of
/// 49,152 tokens, most of it while the file is parsed.
const TEXT_FACTOR: u64 = 34;
/// Code, stacks, and what the allocator keeps for itself.
const PROCESS_BYTES: u64 = 12 << 20;

/// What a session is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionOptions {
    /// Tokens that it can keep; 0 for the trained context, at most [`CONTEXT_DEFAULT`]. A ring goes on for ever and keeps
    /// none further apart than this; 0 is the whole trained context then.
    pub context: usize,
    /// Tokens of a prompt processed at once.
    pub batch: usize,
    /// How keys and values are kept.
    pub kv: KvPrecision,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { context: 0, batch: BATCH_DEFAULT, kv: KvPrecision::default() }
    }
}

/// What a model takes before any session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// The blob, all of which is read in the course of time.
    pub weights_bytes: u64,
    /// The tokenizer and the byte table; nothing without the feature `text`.
    pub text_bytes: u64,
    /// The list of tensors, a sampler, and an allowance of 12 MiB for code, stacks and the allocator.
    pub process_bytes: u64,
}

impl Fixed {
    /// What an open blob takes.
    pub fn of(blob: &Blob<'_>, network: &Network) -> Self {
        let section = |kind| blob.plain(kind).map_or(0, |bytes| bytes.len() as u64);
        let text = section(SectionKind::Tokenizer) * TEXT_FACTOR + section(SectionKind::Vocabulary);
        let blocks: usize = network
            .layers
            .iter()
            .map(|layer| match &layer.feed_forward {
                FeedForwardTensors::Dense(_) => 0,
                FeedForwardTensors::Experts(experts) => experts.experts.len(),
            })
            .sum();
        let tensors = network.layers.len() * size_of::<LayerTensors>() + blocks * size_of::<BlockTensors>();
        // The routers' numbers stand in memory once more.
        let policy = section(SectionKind::KvPolicy);
        Self {
            weights_bytes: blob.header().file_bytes,
            text_bytes: if cfg!(feature = "text") { text } else { 0 },
            process_bytes: PROCESS_BYTES + tensors as u64 + policy + Sampler::bytes(network.spec.vocabulary),
        }
    }

    /// Bytes of everything together.
    pub const fn total_bytes(&self) -> u64 {
        self.weights_bytes + self.text_bytes + self.process_bytes
    }
}

/// Every byte of a session: what is planned here is what is allocated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Tokens that fit, or over which a ring reaches.
    pub context: usize,
    /// How many keys and values are kept, and how.
    pub kv: KvSize,
    /// What the model takes.
    pub fixed: Fixed,
    /// Keys and values.
    pub kv_bytes: u64,
    /// Working buffers.
    pub scratch_bytes: u64,
    pub(crate) scratch: ScratchSizes,
}

impl Plan {
    /// Bytes of everything together.
    pub const fn total_bytes(&self) -> u64 {
        self.fixed.total_bytes().saturating_add(self.kv_bytes).saturating_add(self.scratch_bytes)
    }
}

/// Decides every byte of a session.
///
/// # Errors
/// An option outside its range, or a total over the limit; the message says what would fit.
pub fn plan(network: &Network, fixed: Fixed, options: &SessionOptions, memory_max: Option<u64>) -> Result<Plan, Error> {
    let spec = &network.spec;
    let trained = spec.context_max as usize;
    let ring = matches!(options.kv, KvPrecision::Ring(_));
    let context = match options.context {
        0 if ring => trained,
        0 => trained.min(CONTEXT_DEFAULT),
        asked => asked,
    };
    in_range("context", context, trained)?;
    in_range("batch", options.batch, BATCH_MAX)?;
    let layers: Vec<AttentionSpec> = spec.layers.iter().map(|layer| layer.attention).collect();
    let with = |context: usize, options: &SessionOptions| -> Result<Plan, Error> {
        let exact = ScratchSizes::of(spec, options.batch.min(context));
        let scratch = if ring { exact.with_ring(&layers) } else { exact };
        let kv = KvSize::of(options.kv, network.kv_policy.as_ref(), &layers, context)?;
        Ok(Plan { context, kv, fixed, kv_bytes: kv.bytes(&layers), scratch_bytes: scratch.bytes(), scratch })
    };
    let plan = with(context, options)?;
    let Some(limit) = memory_max.filter(|&limit| plan.total_bytes() > limit) else { return Ok(plan) };
    let advice = match options.kv {
        KvPrecision::Ring(ring) => smaller_ring(&plan, limit, |bytes| {
            with(context, &SessionOptions { kv: KvPrecision::Ring(RingOptions { bytes, ..ring }), ..*options }).is_ok()
        }),
        _ => {
            shorter_context(&plan, limit, |context| with(context, options).map_or(u64::MAX, |plan| plan.total_bytes()))
        }
    };
    Err(over_limit(&plan, limit, advice))
}

fn in_range(setting: &'static str, value: usize, max: usize) -> Result<(), Error> {
    if (1..=max).contains(&value) {
        Ok(())
    } else {
        Err(Error::Setting { setting, expected: format!("1 to {max}"), found: value.to_string() })
    }
}

/// The largest context that fits, by bisection: more tokens never take less.
fn shorter_context(plan: &Plan, limit: u64, total_bytes: impl Fn(usize) -> u64) -> String {
    let (mut fits, mut too_many) = (0, plan.context);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        if total_bytes(middle) <= limit { fits = middle } else { too_many = middle }
    }
    match fits {
        0 => format!("no context fits: the model needs at least {} bytes", total_bytes(1)),
        tokens => format!("a context of {tokens} tokens would fit"),
    }
}

/// What the rest leaves for a ring.
fn smaller_ring(plan: &Plan, limit: u64, possible: impl Fn(u64) -> bool) -> String {
    match limit.checked_sub(plan.total_bytes() - plan.kv_bytes) {
        Some(left) if left > 0 && possible(left) => format!("a ring of {left} bytes would fit"),
        _ => "no ring fits".to_owned(),
    }
}

fn over_limit(plan: &Plan, limit: u64, advice: String) -> Error {
    Error::Memory {
        needed: plan.total_bytes(),
        parts: format!(
            "weights {}, text {}, process {}, KV {}, scratch {}",
            plan.fixed.weights_bytes,
            plan.fixed.text_bytes,
            plan.fixed.process_bytes,
            plan.kv_bytes,
            plan.scratch_bytes
        ),
        limit,
        advice,
    }
}
