//! RoPE as checkpoints spell it: `rope_theta` with `rope_scaling`, `rope_parameters` for both, or
//! GGUF's keys.

use crate::config::Config;
use crate::error::FamilyError;
use crate::metadata::{Metadata, Setting};
use crate::rope::{Rope, Scaling, mscale};

const KINDS: &str = "default, linear, llama3, yarn";

/// What a checkpoint turns, and what attention scores are multiplied by because of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RopeSettings {
    pub rope: Rope,
    /// `mscale(factor, mscale_all_dim)`; DeepSeek multiplies its scores by the square.
    pub all_dim_scale: f64,
}

/// Reads either spelling; where there is no base, `default_base` (the family's own) holds.
pub(crate) fn from_hub(
    config: &Config,
    dim: u32,
    default_base: f64,
) -> Result<RopeSettings, FamilyError> {
    let settings = match config.object("rope_scaling")? {
        Some(scaling) => Some(scaling),
        None => config.object("rope_parameters")?,
    };
    let empty = serde_json::Value::Null;
    let settings = settings.unwrap_or_else(|| Config::root(&empty));
    for key in ["full_attention", "sliding_attention", "mrope_section"] {
        if settings.get(key).is_some() {
            return Err(settings.unsupported(key, "one RoPE of one dimension for all layers"));
        }
    }
    if settings.optional_number("partial_rotary_factor")?.is_some_and(|factor| factor != 1.0) {
        return Err(settings.unsupported("partial_rotary_factor", "1"));
    }
    let base = match settings.optional_positive("rope_theta")? {
        Some(base) => base,
        None => match config
            .object("rope_parameters")?
            .map(|object| object.optional_positive("rope_theta"))
        {
            Some(base) => base?,
            None => None,
        }
        .or(config.optional_positive("rope_theta")?)
        .unwrap_or(default_base),
    };
    if base <= 1.0 {
        return Err(config.bad("rope_theta", "a number above 1", &base.into()));
    }
    let (scaling, all_dim_scale) = scaling(config, &settings)?;
    Ok(RopeSettings { rope: Rope { base, dim, scaling }, all_dim_scale })
}

fn scaling(config: &Config, settings: &Config) -> Result<(Scaling, f64), FamilyError> {
    let key = if settings.get("rope_type").is_some() { "rope_type" } else { "type" };
    let scaling = match settings.text(key)? {
        None if settings.get("factor").is_some() => return Err(settings.missing("rope_type")),
        None | Some("default") => Scaling::Default,
        Some("linear") => Scaling::Linear { factor: settings.positive("factor")? },
        Some("llama3") => llama3(config, settings)?,
        Some("yarn") => return yarn(config, settings),
        Some(_) => return Err(settings.unsupported(key, KINDS)),
    };
    Ok((scaling, 1.0))
}

fn llama3(config: &Config, settings: &Config) -> Result<Scaling, FamilyError> {
    let (low, high) =
        (settings.positive("low_freq_factor")?, settings.positive("high_freq_factor")?);
    if low >= high {
        return Err(settings.bad(
            "high_freq_factor",
            "a number above low_freq_factor",
            &high.into(),
        ));
    }
    Ok(Scaling::Llama3 {
        factor: settings.positive("factor")?,
        low,
        high,
        original: original(config, settings)?,
    })
}

fn yarn(config: &Config, settings: &Config) -> Result<(Scaling, f64), FamilyError> {
    let original = original(config, settings)?;
    let factor = match settings.optional_positive("factor")? {
        Some(factor) => factor,
        None => config.positive("max_position_embeddings")? / original,
    };
    // A zero weight counts as absent, as in transformers' `modeling_rope_utils.py`.
    let weight = |key| Ok(settings.optional_number(key)?.filter(|weight| *weight != 0.0));
    let (own, all_dim) = (weight("mscale")?, weight("mscale_all_dim")?);
    let all_dim_scale = all_dim.map_or(1.0, |all_dim| mscale(factor, all_dim));
    let attention_factor = match (settings.optional_positive("attention_factor")?, own, all_dim) {
        (Some(attention_factor), ..) => attention_factor,
        (None, Some(own), Some(_)) => mscale(factor, own) / all_dim_scale,
        (None, ..) => mscale(factor, 1.0),
    };
    let scaling = Scaling::Yarn {
        factor,
        original,
        beta_fast: settings.optional_positive("beta_fast")?.unwrap_or(32.0),
        beta_slow: settings.optional_positive("beta_slow")?.unwrap_or(1.0),
        truncate: settings.flag("truncate", true)?,
        attention_factor,
    };
    Ok((scaling, all_dim_scale))
}

/// The context before scaling; beside the RoPE settings it has priority over within, as in
/// transformers.
fn original(config: &Config, settings: &Config) -> Result<f64, FamilyError> {
    const KEY: &str = "original_max_position_embeddings";
    match (config.optional_positive(KEY)?, settings.optional_positive(KEY)?) {
        (Some(original), _) | (None, Some(original)) => Ok(original),
        (None, None) => config.positive("max_position_embeddings"),
    }
}

/// What GGUF leaves unsaid about YaRN, because llama.cpp decides it by architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum YarnRule {
    /// The ends of the ramp are rounded, as in the paper.
    Rounded,
    /// They are not: published GPT-OSS has `"truncate": false`, for which GGUF has no key.
    Exact,
    /// Rounded; cosines and sines are left alone and the scores sharpened instead.
    OnScores,
}

/// Reads the keys of a GGUF file.
pub(crate) fn from_gguf(
    metadata: &Metadata,
    dim: u32,
    rule: YarnRule,
) -> Result<RopeSettings, FamilyError> {
    let base = metadata.optional_positive("rope.freq_base")?.unwrap_or(10_000.0);
    if base <= 1.0 {
        return Err(metadata.bad("rope.freq_base", "a number above 1", &Setting::Float(base)));
    }
    // Granite's way to say that there is no RoPE at all.
    if !metadata.flag("rope.scaling.finetuned", true)?
        && metadata.architecture().starts_with("granite")
    {
        return Err(metadata.unsupported("rope.scaling.finetuned", "true"));
    }
    let (scaling, all_dim_scale) = match metadata.text("rope.scaling.type")?.as_deref() {
        None | Some("none") => (linear(metadata, "rope.scale_linear")?, 1.0),
        Some("linear") => (linear(metadata, "rope.scaling.factor")?, 1.0),
        Some("yarn") => yarn_of_gguf(metadata, rule)?,
        Some(_) => return Err(metadata.unsupported("rope.scaling.type", "none, linear, yarn")),
    };
    Ok(RopeSettings { rope: Rope { base, dim, scaling }, all_dim_scale })
}

/// A factor of 0 counts as absent, as in llama.cpp.
fn linear(metadata: &Metadata, key: &str) -> Result<Scaling, FamilyError> {
    match metadata.optional_number(key)? {
        None | Some(0.0) => Ok(Scaling::Default),
        Some(_) => Ok(Scaling::Linear { factor: metadata.positive(key)? }),
    }
}

fn yarn_of_gguf(metadata: &Metadata, rule: YarnRule) -> Result<(Scaling, f64), FamilyError> {
    const LOG_MULTIPLIER: &str = "rope.scaling.yarn_log_multiplier";
    for key in [
        "rope.scaling.attn_factor",
        "rope.scaling.yarn_attn_factor",
        "rope.scaling.yarn_ext_factor",
    ] {
        metadata.only_one(key)?;
    }
    let factor = metadata.positive("rope.scaling.factor")?;
    let (attention_factor, all_dim_scale) = match rule {
        YarnRule::Rounded | YarnRule::Exact => (mscale(factor, 1.0), 1.0),
        // The key holds 0.1 * mscale_all_dim. All DeepSeek checkpoints have an equal mscale, so
        // their ratio is 1.
        YarnRule::OnScores => (1.0, mscale(factor, 10.0 * metadata.positive(LOG_MULTIPLIER)?)),
    };
    let scaling = Scaling::Yarn {
        factor,
        original: metadata.positive("rope.scaling.original_context_length")?,
        beta_fast: metadata.optional_positive("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
        beta_slow: metadata.optional_positive("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
        truncate: rule != YarnRule::Exact,
        attention_factor,
    };
    Ok((scaling, all_dim_scale))
}
