//! What a reference implementation says of a checkpoint: prompts, their logits, and the tokens that
//! follow.

use std::path::Path;

use safetensors::SafeTensors;

/// One prompt and what follows it.
pub struct Reference {
    pub prompt: Vec<u32>,
    /// `[prompt, vocabulary]`
    pub logits: Vec<f32>,
    /// The likeliest tokens, one after another.
    pub greedy: Vec<u32>,
}

/// Reads a checkpoint's `reference.safetensors`.
pub fn references(folder: &Path) -> Vec<Reference> {
    let bytes = std::fs::read(folder.join("reference.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let ids = |name: String| -> Vec<u32> {
        let data = tensors.tensor(&name).unwrap().data().chunks_exact(8);
        data.map(|id| i64::from_le_bytes(id.try_into().unwrap()) as u32).collect()
    };
    (0..3)
        .map(|index| Reference {
            prompt: ids(format!("prompt_{index}")),
            logits: tensors
                .tensor(&format!("logits_{index}"))
                .unwrap()
                .data()
                .chunks_exact(4)
                .map(|value| f32::from_le_bytes(value.try_into().unwrap()))
                .collect(),
            greedy: ids(format!("greedy_{index}")),
        })
        .collect()
}

/// The largest difference between two rows of numbers.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
