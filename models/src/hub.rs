//! What the families share when they are published on the Hugging Face hub: the basic settings and
//! the usual names.

use hardtack_format::Role;
use hardtack_format::limits::LAYERS_MAX;
use hardtack_format::spec::{ExpertsSpec, ModelSpec, RouterKind};

use crate::basics::Basics;
use crate::config::Config;
use crate::draft::{Draft, Locate, plain};
use crate::error::FamilyError;
use crate::hub_experts::HubExperts;
use crate::rope_settings;
use crate::slots::{Head, Place, Slot};
use crate::source::Source;
use crate::tensors::Names;

/// Reads the basic settings. `default_base` is RoPE's base where the file has none (a constant of
/// each family's class in transformers).
pub(crate) fn basics(config: &Config, default_base: f64) -> Result<Basics, FamilyError> {
    let (hidden, heads) =
        (config.positive_count("hidden_size")?, config.positive_count("num_attention_heads")?);
    let head_dim = match config.optional_count("head_dim")? {
        Some(head_dim) => head_dim,
        None => hidden / heads,
    };
    basics_of_head(config, default_base, head_dim, head_dim)
}

/// Reads the basic settings of a family whose heads are described elsewhere.
pub(crate) fn basics_of_head(
    config: &Config,
    default_base: f64,
    head_dim: u32,
    rope_dim: u32,
) -> Result<Basics, FamilyError> {
    let heads = config.positive_count("num_attention_heads")?;
    let layer_count = config.positive_count("num_hidden_layers")?;
    if layer_count > LAYERS_MAX {
        return Err(config.bad("num_hidden_layers", "at most 1024", &layer_count.into()));
    }
    let settings = rope_settings::from_hub(config, rope_dim, default_base)?;
    let tied = config.flag("tie_word_embeddings", false)?;
    Ok(Basics {
        vocabulary: config.count("vocab_size")?,
        hidden: config.positive_count("hidden_size")?,
        layer_count,
        heads,
        kv_heads: config.optional_count("num_key_value_heads")?.unwrap_or(heads),
        head_dim,
        context_max: config.count("max_position_embeddings")?,
        norm_epsilon: config.positive("rms_norm_eps")? as f32,
        rope: settings.rope,
        all_dim_scale: settings.all_dim_scale,
        head: if tied { Head::Tied } else { Head::Own },
    })
}

/// Biases of all four projections, or none.
pub(crate) fn attention_biases(config: &Config) -> Result<Vec<Role>, FamilyError> {
    let present = config.flag("attention_bias", false)?;
    Ok(if present {
        vec![Role::QueryBias, Role::KeyBias, Role::ValueBias, Role::OutputBias]
    } else {
        Vec::new()
    })
}

/// The windows of `layer_types`, or none where there is no such list; 0 where a layer sees
/// everything.
pub(crate) fn listed_windows(
    config: &Config,
    layer_count: u32,
    window: Option<u32>,
) -> Result<Option<Vec<u32>>, FamilyError> {
    const KEY: &str = "layer_types";
    let Some(kinds) = config.list(KEY)? else { return Ok(None) };
    if kinds.len() != layer_count as usize {
        return Err(config.bad(KEY, "one entry for each layer", &kinds.len().into()));
    }
    let windows = kinds.iter().map(|kind| match kind.as_str() {
        Some("full_attention") => Ok(0),
        Some("sliding_attention") => window.ok_or_else(|| {
            config.unsupported(KEY, "sliding_attention only with a sliding_window in use")
        }),
        _ => Err(config.unsupported(KEY, "full_attention and sliding_attention")),
    });
    windows.collect::<Result<_, _>>().map(Some)
}

/// The windows of the dense Qwen families: `layer_types`, or all layers from `max_window_layers`
/// up, if any at all.
pub(crate) fn qwen_windows(config: &Config, layer_count: u32) -> Result<Vec<u32>, FamilyError> {
    let window = match config.flag("use_sliding_window", false)? {
        true => config.optional_count("sliding_window")?.filter(|window| *window > 0),
        false => None,
    };
    if let Some(windows) = listed_windows(config, layer_count, window)? {
        return Ok(windows);
    }
    let Some(window) = window else { return Ok(vec![0; layer_count as usize]) };
    let first = config.count("max_window_layers")?;
    Ok((0..layer_count).map(|layer| if layer >= first { window } else { 0 }).collect())
}

/// Which layers have experts in the Qwen families: `decoder_sparse_step` and `mlp_only_layers`.
pub(crate) fn sparse_layers(config: &Config, layer_count: u32) -> Result<Vec<bool>, FamilyError> {
    let step = match config.optional_count("decoder_sparse_step")? {
        None => 1,
        Some(_) => config.positive_count("decoder_sparse_step")?,
    };
    let mut sparse: Vec<bool> =
        (0..layer_count).map(|layer| (layer + 1).is_multiple_of(step)).collect();
    for layer in config.list("mlp_only_layers")?.unwrap_or_default() {
        let index = layer.as_u64().and_then(|layer| usize::try_from(layer).ok());
        match index.and_then(|index| sparse.get_mut(index)) {
            Some(sparse) => *sparse = false,
            None => return Err(config.bad("mlp_only_layers", "numbers of layers", layer)),
        }
    }
    Ok(sparse)
}

/// A mixture without a shared expert: its count goes by two names.
pub(crate) fn experts(
    config: &Config,
    [count, other]: [&str; 2],
    inner: &str,
    router: RouterKind,
) -> Result<ExpertsSpec, FamilyError> {
    Ok(ExpertsSpec {
        count: count_of(config, count, other)?,
        chosen: config.count("num_experts_per_tok")?,
        inner: config.count(inner)?,
        shared_inner: 0,
        router,
        routed_scale: 1.0,
    })
}

/// The draft of a family with these tensors besides the ones that every network has.
pub(crate) fn draft(
    family: &'static str,
    basics: &Basics,
    spec: ModelSpec,
    optional: Vec<Role>,
    locate: Locate,
) -> Draft {
    let (head, frequencies) = (basics.head, basics.rope.frequencies());
    Draft { family, spec, head, frequencies, frequency_divisors: None, optional, locate }
}

/// A count that goes by two names.
pub(crate) fn count_of(config: &Config, key: &str, other: &str) -> Result<u32, FamilyError> {
    match config.optional_count(key)? {
        Some(count) => Ok(count),
        None => config.optional_count(other)?.ok_or_else(|| config.missing(key)),
    }
}

/// Where tensors are under their usual names, in a network of `count` experts of this width in a
/// layer.
pub(crate) fn locate(names: &dyn Names, count: u32, inner: u32) -> Locate {
    let experts = HubExperts::new(names, count, inner);
    Box::new(move |slot| experts.source(slot).unwrap_or_else(|| source(slot)))
}

/// A tensor under its usual name.
pub(crate) fn source(slot: &Slot) -> Source {
    plain(name(slot), slot)
}

/// The usual name of a tensor.
pub(crate) fn name(slot: &Slot) -> String {
    let part = suffix(slot.role);
    match slot.place {
        Place::Globals => part.into(),
        Place::Layer(layer) => match slot.role {
            Role::Gated
            | Role::Up
            | Role::Down
            | Role::GatedBias
            | Role::UpBias
            | Role::DownBias => {
                format!("model.layers.{layer}.mlp.{part}")
            }
            _ => format!("model.layers.{layer}.{part}"),
        },
        Place::Shared(layer) => format!("model.layers.{layer}.mlp.shared_expert.{part}"),
        Place::Expert(layer, expert) => format!("model.layers.{layer}.mlp.experts.{expert}.{part}"),
    }
}

fn suffix(role: Role) -> &'static str {
    match role {
        Role::Embedding => "model.embed_tokens.weight",
        Role::FinalNorm => "model.norm.weight",
        Role::Head => "lm_head.weight",
        // Never stored; the name is for messages only.
        Role::RopeFrequencies => "model.rotary_emb.inv_freq",
        Role::AttentionNorm => "input_layernorm.weight",
        Role::Query => "self_attn.q_proj.weight",
        Role::Key => "self_attn.k_proj.weight",
        Role::Value => "self_attn.v_proj.weight",
        Role::Output => "self_attn.o_proj.weight",
        Role::QueryBias => "self_attn.q_proj.bias",
        Role::KeyBias => "self_attn.k_proj.bias",
        Role::ValueBias => "self_attn.v_proj.bias",
        Role::OutputBias => "self_attn.o_proj.bias",
        Role::QueryNorm => "self_attn.q_norm.weight",
        Role::KeyNorm => "self_attn.k_norm.weight",
        Role::Sinks => "self_attn.sinks",
        Role::QueryDown => "self_attn.q_a_proj.weight",
        Role::QueryDownNorm => "self_attn.q_a_layernorm.weight",
        Role::KeyValueDown => "self_attn.kv_a_proj_with_mqa.weight",
        Role::KeyValueNorm => "self_attn.kv_a_layernorm.weight",
        Role::KeyUp | Role::ValueUp => "self_attn.kv_b_proj.weight",
        Role::FeedForwardNorm => "post_attention_layernorm.weight",
        Role::Router => "mlp.gate.weight",
        Role::RouterBias => "mlp.gate.bias",
        Role::Gated => "gate_proj.weight",
        Role::Up => "up_proj.weight",
        Role::Down => "down_proj.weight",
        Role::GatedBias => "gate_proj.bias",
        Role::UpBias => "up_proj.bias",
        Role::DownBias => "down_proj.bias",
        Role::SharedGate => "mlp.shared_expert_gate.weight",
    }
}
