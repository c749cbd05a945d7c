//! A folder's tensors put together: every format looks for its own.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::super::file::SourceFile;
use super::super::{SourceError, TensorInfo};
use super::parts::Parts;
use super::settings::Settings;
use super::stored::Stored;
use super::weight::Quantized;
use super::{awq_gptq, bits_and_bytes, compressed, mlx, scaled};

/// What is left of a folder's tensors when those that belong together have been put together.
pub struct Found {
    /// Tensors that stand for themselves.
    pub plain: Vec<TensorInfo>,
    /// Weights that stand for several.
    pub quantized: Vec<Quantized>,
    /// Tensors in `plain` that a network can do without.
    pub idle: HashSet<String>,
}

/// Puts a folder's tensors together. `config` loses the settings of a quantization that is undone
/// here.
///
/// # Errors
/// A method that is not known, by its name; parts that do not fit together, or lack one another.
pub fn put_together(
    folder: &Path,
    config: &mut serde_json::Value,
    tensors: Vec<TensorInfo>,
    sources: &mut Vec<SourceFile>,
) -> Result<Found, SourceError> {
    let settings = Settings::read(folder, config, sources)?;
    let mut parts = Parts::new(tensors, Stored::of(sources));
    let mut quantized = BTreeMap::new();
    for name in parts.names() {
        let found = [
            awq_gptq::find,
            bits_and_bytes::find_four_bits,
            bits_and_bytes::find_eight_bits,
            compressed::find,
            mlx::find,
            scaled::find,
        ]
        .into_iter()
        .find_map(|find| find(&name, &mut parts, &settings).transpose())
        .transpose()?;
        let Some(found) = found else { continue };
        let codes = found.codes.clone();
        if let Some(other) = quantized.insert(found.name.clone(), found) {
            return Err(parts.wrong(
                &codes,
                "",
                format!("no other codes of {}", other.name),
                other.codes.name,
            ));
        }
    }
    settings.check_plain(&parts)?;
    let quantized: Vec<Quantized> = quantized.into_values().collect();
    let idle = idle_biases(&parts, &quantized)?;
    Ok(Found { plain: parts.rest(!quantized.is_empty()), quantized, idle })
}

/// Biases of nothing but zeros beside quantized weights: AutoGPTQ wrote them for every layer,
/// whether the model has biases or not.
fn idle_biases(parts: &Parts<'_>, quantized: &[Quantized]) -> Result<HashSet<String>, SourceError> {
    const BIAS_BYTES_MAX: u64 = 1 << 20;
    let mut idle = HashSet::new();
    for weight in quantized {
        let Some(module) = weight.name.strip_suffix(".weight") else { continue };
        let Some(bias) = parts.get(&format!("{module}.bias")) else { continue };
        if bias.bytes <= BIAS_BYTES_MAX && parts.stored.bytes(bias)?.iter().all(|byte| *byte == 0) {
            idle.insert(bias.name.clone());
        }
    }
    Ok(idle)
}
