//! Mixtral: Mistral's attention, and experts named `w1` (gate), `w2` (down) and `w3` (up).

use hardtack_format::Role;
use hardtack_format::spec::{HeadNorm, LayerSpec, RouterKind};

use crate::basics::mixture;
use crate::config::Config;
use crate::draft::{Draft, plain};
use crate::error::FamilyError;
use crate::gguf::{self, Pairs};
use crate::hub_experts::HubExperts;
use crate::metadata::Metadata;
use crate::rope_settings::YarnRule;
use crate::slots::{Place, Slot};
use crate::source::Source;
use crate::tensors::Names;
use crate::{hub, mistral};

pub(crate) fn from_hub(config: &Config, names: &dyn Names) -> Result<Draft, FamilyError> {
    config.refuse_watched(&["sliding_window"])?;
    let basics = hub::basics(config, 1_000_000.0)?;
    let windows = mistral::windows(config, basics.layer_count)?;
    let experts = hub::experts(
        config,
        ["num_local_experts", "num_experts"],
        "intermediate_size",
        RouterKind::SoftmaxChosen,
    )?;
    let spec = basics.spec(|layer| LayerSpec {
        attention: basics.attention(HeadNorm::None, windows[layer as usize]),
        feed_forward: mixture(experts),
    });
    let stored = HubExperts::new(names, experts.count, experts.inner);
    // transformers 5 calls the block `mlp` in a model that it has loaded, and may write it so.
    let renamed = names.shape("model.layers.0.mlp.gate.weight").is_some();
    let locate = move |slot: &Slot| match slot.role {
        Role::Router if renamed => hub::source(slot),
        _ => stored.source(slot).unwrap_or_else(|| source(slot)),
    };
    Ok(hub::draft("mixtral", &basics, spec, Vec::new(), Box::new(locate)))
}

fn source(slot: &Slot) -> Source {
    let name = match (slot.place, slot.role) {
        (Place::Layer(layer), Role::Router) => {
            format!("model.layers.{layer}.block_sparse_moe.gate.weight")
        }
        (Place::Expert(layer, expert), role) => {
            let part = match role {
                Role::Gated => "w1",
                Role::Down => "w2",
                _ => "w3",
            };
            format!("model.layers.{layer}.block_sparse_moe.experts.{expert}.{part}.weight")
        }
        _ => hub::name(slot),
    };
    plain(name, slot)
}

/// Architecture `llama` with experts.
pub(crate) fn from_gguf(metadata: &Metadata, names: &dyn Names) -> Result<Draft, FamilyError> {
    metadata.refuse_watched(&[])?;
    let basics = gguf::basics(metadata, names, YarnRule::Rounded)?;
    let experts = gguf::experts(metadata, "feed_forward_length", RouterKind::SoftmaxChosen)?;
    let attention = basics.attention(HeadNorm::None, 0);
    let spec = basics.spec(|_| LayerSpec { attention, feed_forward: mixture(experts) });
    let pairs = Pairs::SideBySide { head_dim: basics.head_dim };
    Ok(gguf::draft("mixtral", &basics, spec, names, &[], gguf::locate(names, pairs, experts.count)))
}
