//! What the tests of calibration share: the fixtures with their reference logits, and numbers from
//! a fixed sequence.
#![allow(dead_code, reason = "every test uses a part")]

pub mod statistics;

use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

/// Every family there is a fixture of.
pub const FAMILIES: [&str; 10] = [
    "llama",
    "llama-rope3",
    "qwen3",
    "mixtral",
    "olmoe",
    "qwen2_moe",
    "qwen3_moe",
    "granitemoe",
    "deepseek_v2",
    "gpt_oss",
];

/// The reference checkpoint of a family, or nothing, loudly, where it is not at hand.
pub fn fixture(family: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures").join(family);
    if folder.is_dir() {
        return Some(folder);
    }
    // Past the test runner, which keeps to itself what a passing test prints by macros.
    let line =
        format!("SKIPPED: {} is not at hand: nothing is compared with it\n", folder.display());
    let _ = std::io::stderr().write_all(line.as_bytes());
    None
}

/// A prompt and the logits `[tokens, vocabulary]` that transformers gives for it.
pub struct Reference {
    pub prompt: Vec<u32>,
    pub logits: Vec<f32>,
}

pub fn references(folder: &Path) -> Vec<Reference> {
    let bytes = std::fs::read(folder.join("reference.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let data = |name: String| tensors.tensor(&name).unwrap().data().to_vec();
    let reference = |index| Reference {
        prompt: data(format!("prompt_{index}"))
            .chunks_exact(8)
            .map(|id| i64::from_le_bytes(id.try_into().unwrap()) as u32)
            .collect(),
        logits: data(format!("logits_{index}"))
            .chunks_exact(4)
            .map(|value| f32::from_le_bytes(value.try_into().unwrap()))
            .collect(),
    };
    (0..3).map(reference).collect()
}

/// Uniform numbers from a fixed sequence.
pub struct Numbers(pub u64);

impl Numbers {
    /// In `-1.0..1.0`.
    pub fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// Below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        ((self.next() + 1.0) / 2.0 * count as f64) as usize % count
    }
}
