//! Qwen2-MoE: a shared expert with a gate of its own beside the routed ones, and dense layers
//! where the settings say so.

use hardtack_format::Role;
use hardtack_format::spec::{ExpertsSpec, HeadNorm, LayerSpec};

use crate::basics::{dense, mixture, router_kind};
use crate::config::Config;
use crate::draft::Draft;
use crate::error::FamilyError;
use crate::gguf::{self, Pairs};
use crate::metadata::Metadata;
use crate::rope_settings::YarnRule;
use crate::tensors::Names;
use crate::{hub, qwen2};

pub(crate) fn from_hub(config: &Config, names: &dyn Names) -> Result<Draft, FamilyError> {
    config.refuse_watched(&["sliding_window", "use_sliding_window"])?;
    let basics = hub::basics(config, 10_000.0)?;
    let windows = windows(config, basics.layer_count)?;
    let sparse = hub::sparse_layers(config, basics.layer_count)?;
    let dense_inner = config.count("intermediate_size")?;
    let experts = ExpertsSpec {
        count: hub::count_of(config, "num_experts", "num_local_experts")?,
        chosen: config.count("num_experts_per_tok")?,
        inner: config.count("moe_intermediate_size")?,
        shared_inner: config.count("shared_expert_intermediate_size")?,
        router: router_kind(config.flag("norm_topk_prob", false)?),
        routed_scale: 1.0,
    };
    let spec = basics.spec(|layer| LayerSpec {
        attention: basics.attention(HeadNorm::None, windows[layer as usize]),
        feed_forward: if sparse[layer as usize] { mixture(experts) } else { dense(dense_inner) },
    });
    let mut optional = vec![Role::SharedGate];
    if config.flag("qkv_bias", true)? {
        optional.extend(qwen2::BIASES);
    }
    Ok(hub::draft(
        "qwen2_moe",
        &basics,
        spec,
        optional,
        hub::locate(names, experts.count, experts.inner),
    ))
}

/// The windows of `layer_types`. Without that list, which layers slide differs between releases of
/// transformers.
fn windows(config: &Config, layer_count: u32) -> Result<Vec<u32>, FamilyError> {
    if config.flag("use_sliding_window", false)? && config.list("layer_types")?.is_none() {
        return Err(
            config.unsupported("use_sliding_window", "false, or true together with layer_types")
        );
    }
    hub::qwen_windows(config, layer_count)
}

/// Architecture `qwen2moe`. llama.cpp knows no dense layers in it, and never renormalizes unless
/// the file says so.
pub(crate) fn from_gguf(metadata: &Metadata, names: &dyn Names) -> Result<Draft, FamilyError> {
    metadata.refuse_watched(&["expert_shared_feed_forward_length", "expert_weights_norm"])?;
    let basics = gguf::basics(metadata, names, YarnRule::Rounded)?;
    let experts = ExpertsSpec {
        count: metadata.count("expert_count")?,
        chosen: metadata.count("expert_used_count")?,
        inner: metadata.count("expert_feed_forward_length")?,
        shared_inner: metadata.count("expert_shared_feed_forward_length")?,
        router: router_kind(metadata.flag("expert_weights_norm", false)?),
        routed_scale: 1.0,
    };
    let attention = basics.attention(HeadNorm::None, 0);
    let spec = basics.spec(|_| LayerSpec { attention, feed_forward: mixture(experts) });
    let locate = gguf::locate(names, Pairs::Halves, experts.count);
    Ok(gguf::draft("qwen2_moe", &basics, spec, names, &[Role::SharedGate], locate))
}
