//! What a blob says about its own making: sources and calibration texts with their hashes,
//! settings, version. No time, so that the same bake gives the same bytes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use hardtack_models::{LayerRecipe, Recipe};
use serde::{Deserialize, Serialize};

use super::assignment::Assignment;
use super::error::BakeError;
use crate::source::{Checkpoint, Form};

/// A file that was baked from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceFile {
    /// Its name without folders.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3 hash in hexadecimal digits.
    pub blake3: String,
}

/// A text that a bake's choices were calibrated on. A text with this hash is never one to judge the
/// blob by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationText {
    /// What the text stands for, such as `code` or `wikipedia-en`.
    pub domain: String,
    /// The file's name without folders.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3 hash in hexadecimal digits.
    pub blake3: String,
}

/// What binds the gate of a layer to its experts: `hardtack_format::gate_bonds` in hexadecimal
/// digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateBond {
    /// The layer.
    pub layer: u32,
    /// The hash.
    pub blake3: String,
}

/// The section.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    baked_by: &'static str,
    family: &'static str,
    layers: &'static str,
    head: &'static str,
    sources: Vec<SourceFile>,
    calibration: Vec<CalibrationText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocation: Option<Allocated>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gate_bonds: Vec<GateBond>,
}

/// An expert that met fewer calibration tokens has costs that mean little: it borrows from its
/// layer, and is named.
pub const STARVED_TOKENS: u64 = 64;

/// How encodings were chosen by calibration, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Allocated {
    /// `global`, `per-layer` or `uniform`.
    pub method: String,
    /// What was asked for: `45000000 bytes`, `2.5 bits per expert`.
    pub target: String,
    /// Mean bits of the routed experts' codes; nothing without experts.
    pub expert_bits: Option<f64>,
    /// Estimated rise of the loss over the model that costs were taken on, in nats a token.
    pub cost: f64,
    /// No allocation within the target is estimated to do better.
    pub bound: f64,
    /// Tokens of each text that were fitted on.
    pub tokens: Vec<u64>,
    /// Calibration tokens that each expert of each layer met.
    pub expert_tokens: Vec<Vec<u64>>,
    /// `tuned`, or `as they were` before the round: tuning is kept only where it helps on text
    /// held out.
    pub gates: String,
    /// Text held out of each calibration text, before and after.
    pub held_out: Vec<HeldOut>,
    /// The rounds before this one: each one's costs were taken on what the one before it left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<EarlierRound>,
    /// What the costs were taken times, where the quantized model was measured: `cost` and `bound`
    /// are such costs then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<Factor>,
    /// How the KV policy was made, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv: Option<KvAbout>,
}

/// What the measured cost of a group of parts is of the estimated one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    /// The group, such as `experts of layer 3`.
    pub parts: String,
    /// Measured by estimated.
    pub factor: f64,
}

/// What a blob says about its KV policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KvAbout {
    /// Tokens of a window.
    pub window: usize,
    /// Tokens of each text that costs were taken on; half as many more judged the routers.
    pub tokens: usize,
    /// Bits of a code on average at each price.
    pub averages: Vec<f64>,
    /// What each layer's kv_router pays on text held out, as a share of what constant bits pay.
    pub routers: Vec<f64>,
    /// Layers whose router stays, since it pays less.
    pub kept: Vec<usize>,
    /// Those of them that learned theirs together with the layers beside them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<usize>,
}

/// A round of a bake that walked down to its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlierRound {
    /// What it kept to.
    pub target: String,
    /// Mean bits of the routed experts' codes; nothing without experts.
    pub expert_bits: Option<f64>,
    /// Estimated rise of the loss over the model that its costs were taken on, in nats a token.
    pub cost: f64,
    /// What became of its gates.
    pub gates: String,
    /// What it left, on text held out.
    pub held_out: Vec<HeldOut>,
}

impl Allocated {
    /// The rounds that a round after this one comes after.
    #[cfg(feature = "calibrate")]
    pub fn walked(self) -> Vec<EarlierRound> {
        let Self { target, expert_bits, cost, gates, held_out, mut rounds, .. } = self;
        rounds.push(EarlierRound { target, expert_bits, cost, gates, held_out });
        rounds
    }
}

/// The baked model beside the checkpoint on one text, means over the predicted tokens in nats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// The text's domain.
    pub domain: String,
    /// Predicted tokens.
    pub tokens: u64,
    /// Loss of the checkpoint.
    pub exact: f64,
    /// Loss of what was baked.
    pub baked: f64,
    /// Kullback-Leibler divergence from the checkpoint.
    pub divergence: f64,
}

/// Files beside the weights that a blob's text comes from, where a folder has them.
const TEXT_FILES: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"];

/// Everything that is baked from.
pub fn files(checkpoint: &Checkpoint) -> Vec<PathBuf> {
    let mut files = checkpoint.files().to_vec();
    if let Form::HuggingFace { folder, .. } = checkpoint.form() {
        files.extend(TEXT_FILES.iter().map(|name| folder.join(name)).filter(|path| path.is_file()));
    }
    files
}

/// The same files before they are read: the length of what a blob says about them is known then.
pub fn unread(paths: &[PathBuf]) -> Result<Vec<SourceFile>, BakeError> {
    let unread = |path: &PathBuf| {
        let length = std::fs::metadata(path)
            .map_err(|source| BakeError::Read { path: path.clone(), source })?
            .len();
        Ok(SourceFile {
            name: name(path),
            bytes: length,
            blake3: blake3::Hash::from_bytes([0; 32]).to_hex().to_string(),
        })
    };
    paths.iter().map(unread).collect()
}

/// Reads every file once. `read` is told how many bytes have been read so far.
pub fn hash_files(
    paths: &[PathBuf],
    stop: &AtomicBool,
    read: &mut dyn FnMut(u64),
) -> Result<Vec<SourceFile>, BakeError> {
    let mut total = 0;
    let mut buffer = vec![0; 1 << 20];
    let mut sources = Vec::new();
    for path in paths {
        let failed = |source| BakeError::Read { path: path.clone(), source };
        let mut file = File::open(path).map_err(failed)?;
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(BakeError::Interrupted);
            }
            let count = file.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            bytes += count as u64;
            total += count as u64;
            read(total);
        }
        sources.push(SourceFile {
            name: name(path),
            bytes,
            blake3: hasher.finalize().to_hex().to_string(),
        });
    }
    Ok(sources)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Provenance {
    /// Of a bake whose gates are not bound yet.
    pub fn new(
        recipe: &Recipe,
        assignment: &Assignment,
        sources: &[SourceFile],
        calibration: &[CalibrationText],
        allocation: Option<&Allocated>,
    ) -> Self {
        let is_mixture = |(_, layer): &(u32, &LayerRecipe)| !layer.experts.is_empty();
        let mixtures = (0..).zip(&recipe.layers).filter(is_mixture);
        Self {
            baked_by: concat!("hardtack ", env!("CARGO_PKG_VERSION")),
            family: recipe.family,
            layers: assignment.layers_name(),
            head: assignment.head.name(),
            sources: sources.to_vec(),
            calibration: calibration.to_vec(),
            allocation: allocation.cloned(),
            gate_bonds: mixtures.map(|(layer, _)| GateBond::new(layer, [0; 32])).collect(),
        }
    }

    /// Binds gates to their experts. The section's length stays what it was.
    pub fn bind(&mut self, bonds: Vec<(u32, [u8; 32])>) {
        self.gate_bonds =
            bonds.into_iter().map(|(layer, hash)| GateBond::new(layer, hash)).collect();
    }

    /// The section's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("plain strings and numbers always serialize")
    }
}

impl GateBond {
    /// The bond of a layer.
    pub fn new(layer: u32, hash: [u8; 32]) -> Self {
        Self { layer, blake3: blake3::Hash::from_bytes(hash).to_hex().to_string() }
    }
}
