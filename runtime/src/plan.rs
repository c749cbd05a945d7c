//! The exact map of bytes for a model in a memory budget, made before the first weight is read.

use hardtack_format::network::{BlockTensors, FeedForwardTensors, LayerTensors};
use hardtack_format::{Blob, ModelSpec, Network, SectionKind};

use crate::error::Error;
use crate::kv::{Kv, KvPrecision};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Tokens that it can keep; 0 for the trained context, at most [`CONTEXT_DEFAULT`].
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
        Self {
            weights_bytes: blob.header().file_bytes,
            text_bytes: if cfg!(feature = "text") { text } else { 0 },
            process_bytes: PROCESS_BYTES + tensors as u64 + Sampler::bytes(network.spec.vocabulary),
        }
    }

    /// Bytes of everything together.
    pub const fn total_bytes(&self) -> u64 {
        self.weights_bytes + self.text_bytes + self.process_bytes
    }
}

/// Every byte of a session: what is planned here is what is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Tokens that fit.
    pub context: usize,
    /// How keys and values are kept.
    pub kv: KvPrecision,
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
pub fn plan(spec: &ModelSpec, fixed: Fixed, options: &SessionOptions, memory_max: Option<u64>) -> Result<Plan, Error> {
    let trained = spec.context_max as usize;
    let context = if options.context == 0 { trained.min(CONTEXT_DEFAULT) } else { options.context };
    in_range("context", context, trained)?;
    in_range("batch", options.batch, BATCH_MAX)?;
    let token_bytes = Kv::token_bytes(spec.layers.iter().map(|layer| &layer.attention), options.kv);
    let with = |context: usize| {
        let scratch = ScratchSizes::of(spec, options.batch.min(context));
        let kv_bytes = token_bytes.saturating_mul(context as u64);
        Plan { context, kv: options.kv, fixed, kv_bytes, scratch_bytes: scratch.bytes(), scratch }
    };
    let plan = with(context);
    match memory_max {
        Some(limit) if plan.total_bytes() > limit => {
            Err(over_limit(&plan, limit, |context| with(context).total_bytes()))
        }
        _ => Ok(plan),
    }
}

fn in_range(setting: &'static str, value: usize, max: usize) -> Result<(), Error> {
    if (1..=max).contains(&value) {
        Ok(())
    } else {
        Err(Error::Setting { setting, expected: format!("1 to {max}"), found: value.to_string() })
    }
}

fn over_limit(plan: &Plan, limit: u64, total_bytes: impl Fn(usize) -> u64) -> Error {
    // The largest context that fits, by bisection: more tokens never take less.
    let (mut fits, mut too_many) = (0, plan.context);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        if total_bytes(middle) <= limit { fits = middle } else { too_many = middle }
    }
    let advice = match fits {
        0 => format!("no context fits: the model needs at least {} bytes", total_bytes(1)),
        tokens => format!("a context of {tokens} tokens would fit"),
    };
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
