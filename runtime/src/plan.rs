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
    let token_bytes = Kv::token_bytes(spec.layers.iter().map(|layer| &layer.attention), options.kv);
    let with = |context: usize| {
        let scratch = ScratchSizes::of(spec, options.batch.min(context));
        let kv_bytes = token_bytes * context as u64;
        Plan { context, kv: options.kv, weights_bytes, kv_bytes, scratch_bytes: scratch.bytes(), scratch }
    };
    let plan = with(context);
    match options.memory_max {
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
        weights: plan.weights_bytes,
        kv: plan.kv_bytes,
        scratch: plan.scratch_bytes,
        limit,
        advice,
    }
}
