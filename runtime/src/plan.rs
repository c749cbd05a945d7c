//! The exact map of bytes for a model in a memory budget, made before the first weight is read.

use hardtack_format::ModelSpec;

use crate::error::Error;
use crate::kv::{Kv, KvPrecision};
use crate::scratch::ScratchSizes;

/// Tokens kept if nothing else is asked for and the model was trained for as many.
pub const CONTEXT_DEFAULT: usize = 4096;
/// Tokens processed at once if nothing else is asked for.
pub const BATCH_DEFAULT: usize = 64;
/// Most tokens processed at once.
pub const BATCH_MAX: usize = 1024;

/// What a session is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Tokens that it can keep; 0 for the trained context, at most [`CONTEXT_DEFAULT`].
    pub context: usize,
    /// Tokens of a prompt processed at once.
    pub batch: usize,
    /// How keys and values are kept.
    pub kv: KvPrecision,
    /// Most bytes that weights, cache and buffers may take together.
    pub memory_max: Option<u64>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { context: 0, batch: BATCH_DEFAULT, kv: KvPrecision::default(), memory_max: None }
    }
}

/// Every byte of a session: what is planned here is what is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Tokens that fit.
    pub context: usize,
    /// How keys and values are kept.
    pub kv: KvPrecision,
    /// The blob, all of which is read in the course of time.
    pub weights_bytes: u64,
    /// Keys and values.
    pub kv_bytes: u64,
    /// Working buffers.
    pub scratch_bytes: u64,
    /// Sizes of the working buffers.
    pub scratch: ScratchSizes,
}

impl Plan {
    /// Bytes of everything together.
    pub const fn total_bytes(&self) -> u64 {
        self.weights_bytes + self.kv_bytes + self.scratch_bytes
    }
}

/// Decides every byte of a session.
///
/// # Errors
/// An option outside its range, or a total over the limit; the message says what would fit.
pub fn plan(spec: &ModelSpec, weights_bytes: u64, options: &SessionOptions) -> Result<Plan, Error> {
    let trained = spec.context_max as usize;
    let context = if options.context == 0 { trained.min(CONTEXT_DEFAULT) } else { options.context };
    in_range("context", context, trained)?;
    in_range("batch", options.batch, BATCH_MAX)?;
    let scratch = ScratchSizes::of(spec, options.batch.min(context));
    let token_bytes = Kv::token_bytes(spec.layers.iter().map(|layer| &layer.attention), options.kv);
    let plan = Plan {
        context,
        kv: options.kv,
        weights_bytes,
        kv_bytes: token_bytes * context as u64,
        scratch_bytes: scratch.bytes(),
        scratch,
    };
    match options.memory_max {
        Some(limit) if plan.total_bytes() > limit => Err(over_limit(&plan, token_bytes, limit)),
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

fn over_limit(plan: &Plan, token_bytes: u64, limit: u64) -> Error {
    let fixed = plan.weights_bytes + plan.scratch_bytes;
    let tokens = limit.saturating_sub(fixed) / token_bytes;
    let advice = if tokens == 0 {
        format!("no context fits: the model needs at least {} bytes", fixed + token_bytes)
    } else {
        format!("a context of {tokens} tokens would fit")
    };
    Error::Memory {
        needed: plan.total_bytes(),
        weights: plan.weights_bytes,
        kv: plan.kv_bytes,
        scratch: plan.scratch_bytes,
        limit,
        advice,
    }
}
