//! OLMoE: queries and keys normalized over the whole projection, experts' shares kept as they are.

use hardtack_format::spec::{HeadNorm, LayerSpec};

use crate::basics::{mixture, router_kind};
use crate::config::Config;
use crate::draft::Draft;
use crate::error::FamilyError;
use crate::gguf::{self, Pairs};
use crate::hub;
use crate::metadata::Metadata;
use crate::rope_settings::YarnRule;
use crate::tensors::Names;

pub(crate) fn from_hub(config: &Config, names: &dyn Names) -> Result<Draft, FamilyError> {
    config.refuse_watched(&["attention_bias"])?;
    let basics = hub::basics(config, 10_000.0)?;
    let experts = hub::experts(
        config,
        ["num_experts", "num_local_experts"],
        "intermediate_size",
        router_kind(config.flag("norm_topk_prob", false)?),
    )?;
    let attention = basics.attention(HeadNorm::Whole, 0);
    Ok(hub::draft(
        "olmoe",
        &basics,
        basics.spec(|_| LayerSpec { attention, feed_forward: mixture(experts) }),
        hub::attention_biases(config)?,
        hub::locate(names, experts.count, experts.inner),
    ))
}

pub(crate) fn from_gguf(metadata: &Metadata, names: &dyn Names) -> Result<Draft, FamilyError> {
    metadata.refuse_watched(&["expert_weights_norm"])?;
    let basics = gguf::basics(metadata, names, YarnRule::Rounded)?;
    let experts = gguf::experts(
        metadata,
        "feed_forward_length",
        router_kind(metadata.flag("expert_weights_norm", false)?),
    )?;
    let attention = basics.attention(HeadNorm::Whole, 0);
    let spec = basics.spec(|_| LayerSpec { attention, feed_forward: mixture(experts) });
    Ok(gguf::draft(
        "olmoe",
        &basics,
        spec,
        names,
        &[],
        gguf::locate(names, Pairs::Halves, experts.count),
    ))
}
