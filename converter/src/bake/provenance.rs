//! What a blob says about its own making: sources and calibration texts with their hashes,
//! settings, version. No time, so that the same bake writes the same bytes.

use hardtack_models::{LayerRecipe, Recipe};
use serde::{Deserialize, Serialize};

use crate::assignment::Assignment;
use crate::source::{CalibrationText, Origin};

/// What binds the router of a layer to its experts: `hardtack_format::gate_bonds` in hexadecimal
/// digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterBond {
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
    sources: Vec<Origin>,
    calibration: Vec<CalibrationText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocation: Option<Allocated>,
    #[serde(rename = "gate_bonds", skip_serializing_if = "Vec::is_empty")]
    router_bonds: Vec<RouterBond>,
}

/// How encodings were chosen by calibration, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Allocated {
    /// `global`, `per-layer` or `uniform`.
    pub method: String,
    /// What was wanted: `45000000 bytes`, `2.5 bits per expert`.
    pub target: String,
    /// Mean bits of the routed experts' codes; none without experts.
    pub expert_bits: Option<f64>,
    /// Estimated rise of the loss over the model that costs were taken on, in nats a token.
    pub cost: f64,
    /// No allocation within the target is estimated to do better.
    pub bound: f64,
    /// Tokens of each text that were fitted on.
    pub tokens: Vec<u64>,
    /// Calibration tokens that each expert of each layer saw.
    pub expert_tokens: Vec<Vec<u64>>,
    /// The routers: `tuned`, or `as they were`. Tuning is kept only where it helps on text held
    /// out.
    #[serde(rename = "gates")]
    pub routers: String,
    /// Text held out of each calibration text, before and after.
    pub held_out: Vec<HeldOut>,
    /// Factors of the costs, where the quantized model was measured. `cost` and `bound` are then
    /// multiplied by them.
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

impl Provenance {
    /// Of a bake whose routers are not bound yet.
    pub fn new(
        recipe: &Recipe,
        assignment: &Assignment,
        sources: &[Origin],
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
            router_bonds: mixtures.map(|(layer, _)| RouterBond::new(layer, [0; 32])).collect(),
        }
    }

    /// Binds routers to their experts. The section's length does not change.
    pub fn bind(&mut self, bonds: Vec<(u32, [u8; 32])>) {
        self.router_bonds =
            bonds.into_iter().map(|(layer, hash)| RouterBond::new(layer, hash)).collect();
    }

    /// The section's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("plain strings and numbers always serialize")
    }
}

impl RouterBond {
    /// The bond of a layer.
    pub fn new(layer: u32, hash: [u8; 32]) -> Self {
        Self { layer, blake3: blake3::Hash::from_bytes(hash).to_hex().to_string() }
    }
}
