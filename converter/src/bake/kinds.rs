//! How a checkpoint's tensors are stored: all of them can be read, and whether they are rounded
//! already.

use std::collections::BTreeMap;

use hardtack_models::{Recipe, TensorSource};

use crate::source::{Checkpoint, SourceError};

/// Bits of a weight in blocks and scales of MXFP4, as Hugging Face folders hold it.
const MXFP4_BITS: f64 = 4.25;

/// Refuses a checkpoint with tensors that cannot be read: their headers tell, long before their
/// turn comes.
///
/// # Errors
/// Some cannot, and all of their types are named.
pub fn check(checkpoint: &Checkpoint, recipe: &Recipe) -> Result<(), SourceError> {
    let wanted: BTreeMap<&str, bool> = tensors(recipe)
        .flat_map(|tensor| tensor.names().into_iter().map(|name| (name, tensor.is_bytes())))
        .collect();
    checkpoint.check_kinds(wanted.into_iter())
}

/// The warning that matrices are rounded already; `None` where they are not.
pub fn second_rounding(checkpoint: &Checkpoint, recipe: &Recipe) -> Option<String> {
    let mut matrices: BTreeMap<&str, (&str, f64)> = BTreeMap::new();
    for tensor in tensors(recipe).filter(|tensor| !tensor.is_vector()) {
        // Of blocks and scales the blocks come first.
        let Some(name) = tensor.names().into_iter().next() else { continue };
        if let Some(quantized) = checkpoint.quantized_as(name) {
            matrices.insert(name, quantized);
            continue;
        }
        let Some(info) = checkpoint.tensor(name) else { continue };
        if tensor.is_bytes() {
            matrices.insert(name, ("MXFP4", MXFP4_BITS));
        } else if info.kind.is_quantized() {
            matrices.insert(name, (info.kind.name(), info.kind.bits()));
        }
    }
    let mut kinds: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    for (kind, bits) in matrices.into_values() {
        kinds.entry(kind).or_insert((bits, 0)).1 += 1;
    }
    if kinds.is_empty() {
        return None;
    }
    let listed: Vec<String> = kinds
        .iter()
        .map(|(kind, (bits, count))| format!("{kind} ({bits:.2} bits a weight, tensors: {count})"))
        .collect();
    Some(format!(
        "the checkpoint is quantized already: {}; its weights are rounded a second time, and a bake from weights of \
         16 bits, where there are some, comes closer to the model",
        listed.join(", ")
    ))
}

fn tensors(recipe: &Recipe) -> impl Iterator<Item = &TensorSource> {
    let layers = recipe
        .layers
        .iter()
        .flat_map(|layer| layer.tensors.iter().chain(layer.experts.iter().flatten()));
    recipe.globals.iter().chain(layers)
}
