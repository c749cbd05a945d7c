//! Granite MoE: four scalar multipliers, and all experts of a layer in two tensors.

use hardtack_format::Role;
use hardtack_format::spec::{HeadNorm, LayerSpec, ModelSpec, RouterKind};

use crate::basics::mixture;
use crate::config::Config;
use crate::draft::{Draft, plain};
use crate::error::FamilyError;
use crate::gguf::{self, Pairs};
use crate::hub;
use crate::hub_experts::HubExperts;
use crate::metadata::Metadata;
use crate::rope_settings::YarnRule;
use crate::select::Selection;
use crate::slots::{Place, Slot};
use crate::source::Source;
use crate::tensors::Names;

pub(crate) fn from_hub(config: &Config, names: &dyn Names) -> Result<Draft, FamilyError> {
    config.refuse_watched(&[
        "attention_bias",
        "attention_multiplier",
        "embedding_multiplier",
        "logits_scaling",
        "residual_multiplier",
    ])?;
    config.only_text("position_embedding_type", "rope")?;
    let basics = hub::basics(config, 10_000.0)?;
    let experts = hub::experts(
        config,
        ["num_local_experts", "num_experts"],
        "intermediate_size",
        RouterKind::SoftmaxChosen,
    )?;
    let mut attention = basics.attention(HeadNorm::None, 0);
    attention.score_scale = config.number("attention_multiplier")? as f32;
    let spec = ModelSpec {
        embedding_scale: config.number("embedding_multiplier")? as f32,
        residual_scale: config.number("residual_multiplier")? as f32,
        logit_scale: (1.0 / config.positive("logits_scaling")?) as f32,
        ..basics.spec(|_| LayerSpec { attention, feed_forward: mixture(experts) })
    };
    let count = experts.count as usize;
    let stored = HubExperts::new(names, experts.count, experts.inner);
    // transformers 5 has no `layer` in a router that it has loaded, and may write it so.
    let renamed = names.shape("model.layers.0.block_sparse_moe.router.weight").is_some();
    let locate = move |slot: &Slot| match (slot.place, slot.role) {
        (Place::Layer(layer), Role::Router) if renamed => {
            plain(format!("model.layers.{layer}.block_sparse_moe.router.weight"), slot)
        }
        _ => stored.source(slot).unwrap_or_else(|| source(slot, count)),
    };
    Ok(hub::draft("granitemoe", &basics, spec, hub::attention_biases(config)?, Box::new(locate)))
}

fn source(slot: &Slot, count: usize) -> Source {
    let (rows, columns) = (slot.rows as usize, slot.columns as usize);
    match (slot.place, slot.role) {
        (Place::Layer(layer), Role::Router) => {
            plain(format!("model.layers.{layer}.block_sparse_moe.router.layer.weight"), slot)
        }
        (Place::Expert(layer, expert), Role::Down) => {
            let name = format!("model.layers.{layer}.block_sparse_moe.output_linear.weight");
            Source::Stored(Selection::one_of(name, expert as usize, count, rows, columns))
        }
        // `input_linear` is [experts, 2 * inner, hidden]: the gate's rows, then up's.
        (Place::Expert(layer, expert), role) => {
            let name = format!("model.layers.{layer}.block_sparse_moe.input_linear.weight");
            let both = Selection::one_of(name, expert as usize, count, 2 * rows, columns);
            Source::Stored(both.every_row(if role == Role::Up { rows } else { 0 }, 1, rows))
        }
        _ => hub::source(slot),
    }
}

pub(crate) fn from_gguf(metadata: &Metadata, names: &dyn Names) -> Result<Draft, FamilyError> {
    const SCALES: [&str; 4] =
        ["attention.scale", "embedding_scale", "logit_scale", "residual_scale"];
    let renormalized = "expert_weights_norm";
    metadata.refuse_watched(&[SCALES.as_slice(), &[renormalized]].concat())?;
    if !metadata.flag(renormalized, true)? {
        return Err(metadata.unsupported(renormalized, "true"));
    }
    let basics = gguf::basics(metadata, names, YarnRule::Rounded)?;
    let experts = gguf::experts(metadata, "feed_forward_length", RouterKind::SoftmaxChosen)?;
    let mut attention = basics.attention(HeadNorm::None, 0);
    attention.score_scale = metadata.positive("attention.scale")? as f32;
    let spec = ModelSpec {
        embedding_scale: metadata.positive("embedding_scale")? as f32,
        residual_scale: metadata.positive("residual_scale")? as f32,
        logit_scale: (1.0 / metadata.positive("logit_scale")?) as f32,
        ..basics.spec(|_| LayerSpec { attention, feed_forward: mixture(experts) })
    };
    let pairs = Pairs::SideBySide { head_dim: basics.head_dim };
    Ok(gguf::draft(
        "granitemoe",
        &basics,
        spec,
        names,
        &[],
        gguf::locate(names, pairs, experts.count),
    ))
}
