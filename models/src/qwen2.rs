//! Qwen2 and Qwen2.5: dense, with biases on queries, keys and values.

use hardtack_format::Role;
use hardtack_format::spec::{HeadNorm, LayerSpec};

use crate::basics::dense;
use crate::config::Config;
use crate::draft::Draft;
use crate::error::FamilyError;
use crate::gguf::{self, Pairs};
use crate::hub;
use crate::metadata::Metadata;
use crate::rope_settings::YarnRule;
use crate::tensors::Names;

/// The biases of both Qwen2 families; the output projection has none.
pub(crate) const BIASES: [Role; 3] = [Role::QueryBias, Role::KeyBias, Role::ValueBias];

pub(crate) fn from_hub(config: &Config, _: &dyn Names) -> Result<Draft, FamilyError> {
    config.refuse_watched(&["sliding_window", "use_sliding_window"])?;
    let basics = hub::basics(config, 10_000.0)?;
    let inner = config.count("intermediate_size")?;
    let windows = hub::qwen_windows(config, basics.layer_count)?;
    let spec = basics.spec(|layer| LayerSpec {
        attention: basics.attention(HeadNorm::None, windows[layer as usize]),
        feed_forward: dense(inner),
    });
    Ok(hub::draft("qwen2", &basics, spec, BIASES.to_vec(), Box::new(hub::source)))
}

pub(crate) fn from_gguf(metadata: &Metadata, names: &dyn Names) -> Result<Draft, FamilyError> {
    metadata.refuse_watched(&[])?;
    let basics = gguf::basics(metadata, names, YarnRule::Rounded)?;
    let inner = metadata.count("feed_forward_length")?;
    let attention = basics.attention(HeadNorm::None, 0);
    let spec = basics.spec(|_| LayerSpec { attention, feed_forward: dense(inner) });
    Ok(gguf::draft("qwen2", &basics, spec, names, &BIASES, gguf::locate(names, Pairs::Halves, 0)))
}
