//! OLMoE: queries and keys normalized over the whole projection, experts' shares kept as they are.

use hardtack_format::spec::{ExpertsSpec, HeadNorm, LayerSpec};

use crate::basics::{gate_kind, mixture};
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
    let experts = ExpertsSpec {
        count: hub::count_of(config, "num_experts", "num_local_experts")?,
        chosen: config.count("num_experts_per_tok")?,
        inner: config.count("intermediate_size")?,
        shared_inner: 0,
        gate: gate_kind(config.flag("norm_topk_prob", false)?),
        routed_scale: 1.0,
    };
    let attention = basics.attention(HeadNorm::Whole, 0);
    Ok(Draft {
        family: "olmoe",
        spec: basics.spec(|_| LayerSpec { attention, feed_forward: mixture(experts) }),
        head: basics.head,
        frequencies: basics.rope.frequencies(),
        frequency_divisors: None,
        optional: hub::attention_biases(config)?,
        locate: hub::locate(names, experts.count, experts.inner),
    })
}

pub(crate) fn from_gguf(metadata: &Metadata, names: &dyn Names) -> Result<Draft, FamilyError> {
    metadata.refuse_watched(&["expert_weights_norm"])?;
    let basics = gguf::basics(metadata, names, YarnRule::Rounded)?;
    let experts = ExpertsSpec {
        count: metadata.count("expert_count")?,
        chosen: metadata.count("expert_used_count")?,
        inner: metadata.count("feed_forward_length")?,
        shared_inner: 0,
        gate: gate_kind(metadata.flag("expert_weights_norm", false)?),
        routed_scale: 1.0,
    };
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
