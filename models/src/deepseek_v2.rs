//! DeepSeek-V2: latent attention, shared experts, and rotated pairs that are side by side.

use hardtack_format::Role;
use hardtack_format::spec::*;

use crate::basics::{Basics, dense, mixture, router_kind};
use crate::config::Config;
use crate::draft::{Draft, plain, whole};
use crate::error::FamilyError;
use crate::gguf::{self, Pairs, Stored};
use crate::hub;
use crate::hub_experts::HubExperts;
use crate::metadata::Metadata;
use crate::rope_settings::YarnRule;
use crate::select::Selection;
use crate::slots::{Place, Slot};
use crate::source::Source;
use crate::tensors::Names;

/// Widths of latent attention.
#[derive(Clone, Copy, Debug)]
struct Latent {
    query_rank: u32,
    kv_rank: u32,
    nope_dim: u32,
    rope_dim: u32,
    value_dim: u32,
}

pub(crate) fn from_hub(config: &Config, names: &dyn Names) -> Result<Draft, FamilyError> {
    refuse(config)?;
    let latent = Latent {
        query_rank: config.optional_count("q_lora_rank")?.unwrap_or(0),
        kv_rank: config.count("kv_lora_rank")?,
        nope_dim: config.count("qk_nope_head_dim")?,
        rope_dim: config.count("qk_rope_head_dim")?,
        value_dim: config.count("v_head_dim")?,
    };
    let basics =
        hub::basics_of_head(config, 10_000.0, latent.nope_dim + latent.rope_dim, latent.rope_dim)?;
    if basics.kv_heads != basics.heads {
        return Err(config.unsupported("num_key_value_heads", "as many as num_attention_heads"));
    }
    let inner = config.count("moe_intermediate_size")?;
    let shared = config.optional_count("n_shared_experts")?.unwrap_or(0);
    let shared_inner = shared
        .checked_mul(inner)
        .ok_or_else(|| config.bad("n_shared_experts", "a small number", &shared.into()))?;
    let experts = ExpertsSpec {
        count: config.count("n_routed_experts")?,
        chosen: config.count("num_experts_per_tok")?,
        inner,
        shared_inner,
        router: router_kind(false),
        routed_scale: config.optional_number("routed_scaling_factor")?.unwrap_or(1.0) as f32,
    };
    let dense_layers = config.optional_count("first_k_dense_replace")?.unwrap_or(0);
    let dense_inner = config.count("intermediate_size")?;
    let spec = basics.spec(|layer| LayerSpec {
        attention: attention(&basics, latent),
        feed_forward: if layer < dense_layers { dense(dense_inner) } else { mixture(experts) },
    });
    if !has_known_epsilon(&spec) {
        return Err(config.unsupported(
            "rms_norm_eps",
            "1e-6, which the latent's normalizations have in any case",
        ));
    }
    let stored = HubExperts::new(names, experts.count, experts.inner);
    Ok(hub::draft(
        "deepseek_v2",
        &basics,
        spec,
        Vec::new(),
        Box::new(move |slot| stored.source(slot).unwrap_or_else(|| source(slot, latent))),
    ))
}

/// What this family can say that the runtime cannot do.
fn refuse(config: &Config) -> Result<(), FamilyError> {
    config.refuse_watched(&[])?;
    config.only_text("topk_method", "greedy")?;
    config.only_text("scoring_func", "softmax")?;
    if config.optional_count("moe_layer_freq")?.is_some_and(|step| step != 1) {
        return Err(config.unsupported("moe_layer_freq", "1"));
    }
    // DeepSeek's own code then renormalizes and drops routed_scaling_factor; transformers does
    // neither.
    if config.flag("norm_topk_prob", false)? {
        return Err(config.unsupported("norm_topk_prob", "false"));
    }
    Ok(())
}

/// The latent's normalizations have 1e-6 whatever the settings say of the others; a spec has one
/// for all.
fn has_known_epsilon(spec: &ModelSpec) -> bool {
    (spec.norm_epsilon - 1e-6).abs() < 1e-9
}

/// Latent attention with YaRN's sharpening applied to the scores.
fn attention(basics: &Basics, latent: Latent) -> AttentionSpec {
    let Latent { query_rank, kv_rank, nope_dim, rope_dim, value_dim } = latent;
    let scale = basics.all_dim_scale * basics.all_dim_scale / f64::from(nope_dim + rope_dim).sqrt();
    AttentionSpec {
        score_scale: scale as f32,
        rope_dim,
        kind: AttentionKind::Latent { query_rank, kv_rank, nope_dim, value_dim },
        ..basics.attention(HeadNorm::None, 0)
    }
}

fn source(slot: &Slot, latent: Latent) -> Source {
    let name = match (slot.place, slot.role) {
        (Place::Shared(layer), role) => {
            let part = match role {
                Role::Gated => "gate_proj",
                Role::Up => "up_proj",
                _ => "down_proj",
            };
            format!("model.layers.{layer}.mlp.shared_experts.{part}.weight")
        }
        // With a rank the second of two projections is what makes queries.
        (Place::Layer(layer), Role::Query) if latent.query_rank > 0 => {
            format!("model.layers.{layer}.self_attn.q_b_proj.weight")
        }
        _ => hub::name(slot),
    };
    latent_source(slot, latent, name)
}

/// A tensor of latent attention under a name, its rotated rows brought into halves and its heads
/// cut apart.
fn latent_source(slot: &Slot, latent: Latent, name: String) -> Source {
    let [kv_rank, nope, rope, value] =
        [latent.kv_rank, latent.nope_dim, latent.rope_dim, latent.value_dim]
            .map(|width| width as usize);
    let heads = slot.stack as usize;
    let both = nope + value;
    match slot.role {
        // Pairs are side by side in the checkpoint (its code turns complex numbers).
        Role::Query => Source::Stored(whole(name, slot).turned(nope + rope, nope, rope)),
        Role::KeyValueDown => {
            Source::Stored(whole(name, slot).turned(kv_rank + rope, kv_rank, rope))
        }
        // One projection holds every head's keys without RoPE, then its values: [heads * (nope +
        // value), kv_rank].
        Role::KeyUp => {
            let joint = Selection::matrix(name, heads * both, kv_rank);
            Source::Stored(joint.split(heads, 0, nope, both).transposed())
        }
        Role::ValueUp => {
            let joint = Selection::matrix(name, heads * both, kv_rank);
            Source::Stored(joint.split(heads, nope, value, both))
        }
        _ => plain(name, slot),
    }
}

/// Architecture `deepseek2`.
pub(crate) fn from_gguf(metadata: &Metadata, names: &dyn Names) -> Result<Draft, FamilyError> {
    metadata.refuse_watched(&[
        "expert_shared_count",
        "expert_weights_scale",
        "leading_dense_block_count",
        "rope.scaling.yarn_log_multiplier",
    ])?;
    let latent = latent_of_gguf(metadata)?;
    let head_dim = latent.nope_dim + latent.rope_dim;
    let basics =
        gguf::basics_of_head(metadata, names, head_dim, latent.rope_dim, YarnRule::OnScores)?;
    let inner = metadata.count("expert_feed_forward_length")?;
    let shared = metadata.optional_count("expert_shared_count")?.unwrap_or(0);
    let Some(shared_inner) = shared.checked_mul(inner) else {
        return Err(metadata.unsupported("expert_shared_count", "a small number"));
    };
    let experts = ExpertsSpec {
        count: metadata.count("expert_count")?,
        chosen: metadata.count("expert_used_count")?,
        inner,
        shared_inner,
        router: router_kind(false),
        // 0 counts as absent, as in llama.cpp.
        routed_scale: metadata
            .optional_number("expert_weights_scale")?
            .filter(|scale| *scale != 0.0)
            .unwrap_or(1.0) as f32,
    };
    let dense_layers = metadata.optional_count("leading_dense_block_count")?.unwrap_or(0);
    let dense_inner = metadata.count("feed_forward_length")?;
    let spec = basics.spec(|layer| LayerSpec {
        attention: attention(&basics, latent),
        feed_forward: if layer < dense_layers { dense(dense_inner) } else { mixture(experts) },
    });
    if !has_known_epsilon(&spec) {
        return Err(metadata.unsupported("attention.layer_norm_rms_epsilon", "1e-6"));
    }
    // Older files keep keys' and values' up-projections together; newer ones split them as a blob
    // does. Some of a fork have both: theirs of the second kind are no stacks.
    let joint = names.shape("blk.0.attn_kv_b.weight").is_some();
    let stored = Stored::new(names, Pairs::Halves, experts.count);
    let locate = move |slot: &Slot| match (slot.place, slot.role) {
        (Place::Layer(layer), Role::Query) if latent.query_rank > 0 => {
            latent_source(slot, latent, format!("blk.{layer}.attn_q_b.weight"))
        }
        (_, Role::Query | Role::KeyValueDown) => latent_source(slot, latent, gguf::name(slot)),
        (Place::Layer(layer), Role::KeyUp | Role::ValueUp) if joint => {
            latent_source(slot, latent, format!("blk.{layer}.attn_kv_b.weight"))
        }
        _ => stored.source(slot),
    };
    Ok(gguf::draft("deepseek_v2", &basics, spec, names, &[], Box::new(locate)))
}

/// Newer files give the widths of the compressed head as `key_length`, and the real ones under
/// `_mla`.
fn latent_of_gguf(metadata: &Metadata) -> Result<Latent, FamilyError> {
    let width = |key: &str| match metadata.optional_count(&format!("{key}_mla"))? {
        Some(width) => Ok(width),
        None => metadata.count(key),
    };
    let rope_dim = metadata.count("rope.dimension_count")?;
    let key_dim = width("attention.key_length")?;
    let Some(nope_dim) = key_dim.checked_sub(rope_dim) else {
        return Err(metadata.unsupported("rope.dimension_count", "at most the width of a key"));
    };
    Ok(Latent {
        query_rank: metadata.optional_count("attention.q_lora_rank")?.unwrap_or(0),
        kv_rank: metadata.count("attention.kv_lora_rank")?,
        nope_dim,
        rope_dim,
        value_dim: width("attention.value_length")?,
    })
}
