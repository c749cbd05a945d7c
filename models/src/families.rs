//! All families by the name that a checkpoint states.

use crate::config::Config;
use crate::draft::Draft;
use crate::error::FamilyError;
use crate::metadata::Metadata;
use crate::tensors::Names;
use crate::{
    deepseek_v2, gpt_oss, granitemoe, llama, mistral, mixtral, olmoe, qwen2, qwen2_moe, qwen3,
    qwen3_moe,
};

type FromHub = fn(&Config, &dyn Names) -> Result<Draft, FamilyError>;
type FromGguf = fn(&Metadata, &dyn Names) -> Result<Draft, FamilyError>;

/// By `model_type` of a `config.json`.
const HUB: &[(&str, FromHub)] = &[
    ("deepseek_v2", deepseek_v2::from_hub),
    ("gpt_oss", gpt_oss::from_hub),
    ("granitemoe", granitemoe::from_hub),
    ("llama", llama::from_hub),
    ("mistral", mistral::from_hub),
    ("mixtral", mixtral::from_hub),
    ("olmoe", olmoe::from_hub),
    ("qwen2", qwen2::from_hub),
    ("qwen2_moe", qwen2_moe::from_hub),
    ("qwen3", qwen3::from_hub),
    ("qwen3_moe", qwen3_moe::from_hub),
];

/// By `general.architecture` of a GGUF file.
const GGUF: &[(&str, FromGguf)] = &[
    ("deepseek2", deepseek_v2::from_gguf),
    ("gpt-oss", gpt_oss::from_gguf),
    ("granitemoe", granitemoe::from_gguf),
    ("llama", llama::from_gguf),
    ("olmoe", olmoe::from_gguf),
    ("qwen2", qwen2::from_gguf),
    ("qwen2moe", qwen2_moe::from_gguf),
    ("qwen3", qwen3::from_gguf),
    ("qwen3moe", qwen3_moe::from_gguf),
];

/// The draft of a checkpoint from the hub.
pub(crate) fn from_hub(config: &Config, names: &dyn Names) -> Result<Draft, FamilyError> {
    const KEY: &str = "model_type";
    let name = config.text(KEY)?.ok_or_else(|| config.missing(KEY))?;
    pick(HUB, KEY, name)?(config, names)
}

/// Whether a `model_type` is one of these.
pub(crate) fn is_known_on_hub(name: &str) -> bool {
    HUB.iter().any(|(own, _)| *own == name)
}

/// The draft of a GGUF file.
pub(crate) fn from_gguf(metadata: &Metadata, names: &dyn Names) -> Result<Draft, FamilyError> {
    pick(GGUF, crate::metadata::ARCHITECTURE, metadata.architecture())?(metadata, names)
}

fn pick<F: Copy>(families: &[(&str, F)], key: &'static str, name: &str) -> Result<F, FamilyError> {
    match families.iter().find(|(own, _)| *own == name) {
        Some((_, family)) => Ok(*family),
        None => {
            let known: Vec<&str> = families.iter().map(|(own, _)| *own).collect();
            Err(FamilyError::UnknownFamily { key, found: name.into(), known: known.join(", ") })
        }
    }
}
