//! Mistral: Llama with a sliding window.

use hardtack_format::spec::{HeadNorm, LayerSpec};

use crate::basics::dense;
use crate::config::Config;
use crate::draft::Draft;
use crate::error::FamilyError;
use crate::hub;
use crate::tensors::Names;

pub(crate) fn from_hub(config: &Config, _: &dyn Names) -> Result<Draft, FamilyError> {
    config.refuse_watched(&["sliding_window"])?;
    let basics = hub::basics(config, 10_000.0)?;
    let inner = config.count("intermediate_size")?;
    let windows = windows(config, basics.layer_count)?;
    let spec = basics.spec(|layer| LayerSpec {
        attention: basics.attention(HeadNorm::None, windows[layer as usize]),
        feed_forward: dense(inner),
    });
    Ok(hub::draft("mistral", &basics, spec, Vec::new(), Box::new(hub::source)))
}

/// The windows of `layer_types`, or one for all layers.
pub(crate) fn windows(config: &Config, layer_count: u32) -> Result<Vec<u32>, FamilyError> {
    let window = config.optional_count("sliding_window")?;
    let listed = hub::listed_windows(config, layer_count, window)?;
    Ok(listed.unwrap_or_else(|| vec![window.unwrap_or(0); layer_count as usize]))
}
