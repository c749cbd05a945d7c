//! Qwen3-MoE: Qwen3's attention over routed experts, with dense layers where the settings say so.

use hardtack_format::spec::{HeadNorm, LayerSpec};

use crate::basics::{dense, mixture, router_kind};
use crate::config::Config;
use crate::draft::Draft;
use crate::error::FamilyError;
use crate::gguf::{self, Pairs};
use crate::hub;
use crate::metadata::Metadata;
use crate::rope_settings::YarnRule;
use crate::tensors::Names;

pub(crate) fn from_hub(config: &Config, names: &dyn Names) -> Result<Draft, FamilyError> {
    config.refuse_watched(&["attention_bias", "sliding_window", "use_sliding_window"])?;
    let basics = hub::basics(config, 10_000.0)?;
    // Unlike in the dense family, one window holds for all layers: `max_window_layers` is not
    // looked at.
    let window = match config.flag("use_sliding_window", false)? {
        true => config.positive_count("sliding_window")?,
        false => 0,
    };
    let sparse = hub::sparse_layers(config, basics.layer_count)?;
    let dense_inner = config.count("intermediate_size")?;
    let experts = hub::experts(
        config,
        ["num_experts", "num_local_experts"],
        "moe_intermediate_size",
        router_kind(config.flag("norm_topk_prob", false)?),
    )?;
    let attention = basics.attention(HeadNorm::PerHead, window);
    let spec = basics.spec(|layer| LayerSpec {
        attention,
        feed_forward: if sparse[layer as usize] { mixture(experts) } else { dense(dense_inner) },
    });
    Ok(hub::draft(
        "qwen3_moe",
        &basics,
        spec,
        hub::attention_biases(config)?,
        hub::locate(names, experts.count, experts.inner),
    ))
}

/// Architecture `qwen3moe`. llama.cpp knows no dense layers in it, and always renormalizes unless
/// the file says otherwise.
pub(crate) fn from_gguf(metadata: &Metadata, names: &dyn Names) -> Result<Draft, FamilyError> {
    metadata.refuse_watched(&["expert_weights_norm"])?;
    let basics = gguf::basics(metadata, names, YarnRule::Rounded)?;
    let experts = gguf::experts(
        metadata,
        "expert_feed_forward_length",
        router_kind(metadata.flag("expert_weights_norm", true)?),
    )?;
    let attention = basics.attention(HeadNorm::PerHead, 0);
    let spec = basics.spec(|_| LayerSpec { attention, feed_forward: mixture(experts) });
    Ok(gguf::draft(
        "qwen3_moe",
        &basics,
        spec,
        names,
        &[],
        gguf::locate(names, Pairs::Halves, experts.count),
    ))
}
