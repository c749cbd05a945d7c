//! Llama: dense, with the names that most others took over.

use hardtack_format::Role;
use hardtack_format::spec::{HeadNorm, LayerSpec};

use crate::basics::dense;
use crate::config::Config;
use crate::draft::Draft;
use crate::error::FamilyError;
use crate::gguf::{self, Pairs};
use crate::metadata::Metadata;
use crate::rope_settings::YarnRule;
use crate::tensors::Names;
use crate::{hub, mixtral};

pub(crate) fn from_hub(config: &Config, _: &dyn Names) -> Result<Draft, FamilyError> {
    config.refuse_watched(&["attention_bias", "mlp_bias"])?;
    let basics = hub::basics(config, 10_000.0)?;
    let inner = config.count("intermediate_size")?;
    let mut optional = hub::attention_biases(config)?;
    if config.flag("mlp_bias", false)? {
        optional.extend([Role::GatedBias, Role::UpBias, Role::DownBias]);
    }
    Ok(hub::draft(
        "llama",
        &basics,
        basics.spec(|_| LayerSpec {
            attention: basics.attention(HeadNorm::None, 0),
            feed_forward: dense(inner),
        }),
        optional,
        Box::new(hub::source),
    ))
}

/// Architecture `llama`, which Mixtral's files have too.
pub(crate) fn from_gguf(metadata: &Metadata, names: &dyn Names) -> Result<Draft, FamilyError> {
    if metadata.optional_count("expert_count")?.is_some_and(|count| count > 0) {
        return mixtral::from_gguf(metadata, names);
    }
    metadata.refuse_watched(&[])?;
    let basics = gguf::basics(metadata, names, YarnRule::Rounded)?;
    let inner = metadata.count("feed_forward_length")?;
    let attention = basics.attention(HeadNorm::None, 0);
    let spec = basics.spec(|_| LayerSpec { attention, feed_forward: dense(inner) });
    let pairs = Pairs::SideBySide { head_dim: basics.head_dim };
    Ok(gguf::draft("llama", &basics, spec, names, &[], gguf::locate(names, pairs, 0)))
}
