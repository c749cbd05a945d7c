//! GPT-OSS: sinks, alternating windows, biases everywhere, clamped SwiGLU, and experts in MXFP4 (as
//! published) or floats.

use hardtack_format::Role;
use hardtack_format::spec::*;

use crate::config::Config;
use crate::draft::{Draft, plain};
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

/// Slope inside the sigmoid, where the settings do not say.
const ALPHA: f64 = 1.702;
/// Bound of both projections, for which GGUF has no key.
const GGUF_LIMIT: f32 = 7.0;

/// Every bias and the sinks.
const EXTRAS: [Role; 9] = [
    Role::QueryBias,
    Role::KeyBias,
    Role::ValueBias,
    Role::OutputBias,
    Role::Sinks,
    Role::RouterBias,
    Role::GatedBias,
    Role::UpBias,
    Role::DownBias,
];

/// How the experts' matrices are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    /// `[experts, inputs, outputs]`
    Floats,
    /// Blocks and scales, `[experts, outputs, inputs / 32]`
    Mxfp4,
}

pub(crate) fn from_hub(config: &Config, names: &dyn Names) -> Result<Draft, FamilyError> {
    config.refuse_watched(&["attention_bias", "quantization_config", "sliding_window"])?;
    if let Some(quantization) = config.object("quantization_config")? {
        quantization.only_text("quant_method", "mxfp4")?;
    }
    if !config.flag("attention_bias", true)? {
        return Err(config.unsupported("attention_bias", "true"));
    }
    // transformers falls back to a YaRN of its own; every published file spells it out.
    if config.get("rope_scaling").or(config.get("rope_parameters")).is_none() {
        return Err(config.missing("rope_scaling"));
    }
    let basics = hub::basics(config, 150_000.0)?;
    let window = Some(config.positive_count("sliding_window")?);
    let windows = hub::listed_windows(config, basics.layer_count, window)?;
    let windows = windows.ok_or_else(|| config.missing("layer_types"))?;
    let experts = hub::experts(
        config,
        ["num_local_experts", "num_experts"],
        "intermediate_size",
        RouterKind::SoftmaxChosen,
    )?;
    let activation = Activation::ClampedSwiglu {
        alpha: config.optional_positive("swiglu_alpha")?.unwrap_or(ALPHA) as f32,
        limit: config.positive("swiglu_limit")? as f32,
    };
    let spec = basics.spec(|layer| LayerSpec {
        attention: basics.attention(HeadNorm::None, windows[layer as usize]),
        feed_forward: FeedForwardSpec { activation, kind: FeedForwardKind::Experts(experts) },
    });
    let stored_as = match names.shape("model.layers.0.mlp.experts.gate_up_proj_blocks") {
        Some(_) => Storage::Mxfp4,
        None => Storage::Floats,
    };
    let count = experts.count as usize;
    let stacked = HubExperts::stacked(names, experts.count);
    Ok(hub::draft(
        "gpt_oss",
        &basics,
        spec,
        EXTRAS.to_vec(),
        Box::new(move |slot| {
            stacked.source(slot).unwrap_or_else(|| source(slot, count, stored_as))
        }),
    ))
}

fn source(slot: &Slot, count: usize, stored_as: Storage) -> Source {
    match slot.place {
        Place::Layer(layer) => match slot.role {
            Role::Router => plain(format!("model.layers.{layer}.mlp.router.weight"), slot),
            Role::RouterBias => plain(format!("model.layers.{layer}.mlp.router.bias"), slot),
            _ => hub::source(slot),
        },
        Place::Expert(layer, expert) => {
            Source::Stored(expert_part(slot, layer, expert as usize, count, stored_as))
        }
        _ => hub::source(slot),
    }
}

/// Outputs of `gate_up_proj` alternate: even ones are the gate's, odd ones up's.
fn expert_part(
    slot: &Slot,
    layer: u32,
    expert: usize,
    count: usize,
    stored_as: Storage,
) -> Selection {
    let (rows, columns) = (slot.rows as usize, slot.columns as usize);
    let joint = match slot.role {
        Role::Gated | Role::GatedBias => Some(0),
        Role::Up | Role::UpBias => Some(1),
        _ => None,
    };
    let part = if joint.is_some() { "gate_up_proj" } else { "down_proj" };
    let name = format!("model.layers.{layer}.mlp.experts.{part}");
    let outputs_per_row = if joint.is_some() { 2 } else { 1 };
    let first = joint.unwrap_or(0);

    if matches!(slot.role, Role::GatedBias | Role::UpBias | Role::DownBias) {
        let biases =
            Selection::row_of(format!("{name}_bias"), expert, count, columns * outputs_per_row);
        return biases.every_column(first, outputs_per_row, columns);
    }
    let outputs = rows * outputs_per_row;
    match stored_as {
        Storage::Floats => Selection::one_of(name, expert, count, columns, outputs)
            .every_column(first, outputs_per_row, rows)
            .transposed(),
        Storage::Mxfp4 => {
            Selection::one_of(format!("{name}_blocks"), expert, count, outputs, columns)
                .every_row(first, outputs_per_row, rows)
                .in_mxfp4(format!("{name}_scales"))
        }
    }
}

/// Architecture `gpt-oss`. The window is on every even layer, whatever the file says (it has no key
/// for it).
pub(crate) fn from_gguf(metadata: &Metadata, names: &dyn Names) -> Result<Draft, FamilyError> {
    metadata.refuse_watched(&["attention.sliding_window"])?;
    let basics = gguf::basics(metadata, names, YarnRule::Exact)?;
    let window = metadata.positive_count("attention.sliding_window")?;
    let experts = gguf::experts(metadata, "expert_feed_forward_length", RouterKind::SoftmaxChosen)?;
    let activation = Activation::ClampedSwiglu { alpha: ALPHA as f32, limit: GGUF_LIMIT };
    let spec = basics.spec(|layer| LayerSpec {
        attention: basics.attention(HeadNorm::None, if layer % 2 == 0 { window } else { 0 }),
        feed_forward: FeedForwardSpec { activation, kind: FeedForwardKind::Experts(experts) },
    });
    let stored = Stored::new(names, Pairs::Halves, experts.count);
    let locate = move |slot: &Slot| match (slot.place, slot.role) {
        (Place::Layer(layer), Role::FeedForwardNorm) => {
            plain(format!("blk.{layer}.post_attention_norm.weight"), slot)
        }
        _ => stored.source(slot),
    };
    Ok(gguf::draft("gpt_oss", &basics, spec, names, &EXTRAS, Box::new(locate)))
}
