//! Tables of costs: for every part of the network and every option, how much its quantization
//! would cost.
//!
//! A cost is `sum over tokens t and elements d of g(t, d)^2 * change(t, d)^2`, where `change` is
//! what the option does to the block's output and `g` is the gradient, at that place, of the summed
//! loss of the token's window (in nats). Half of it estimates the rise of that sum (Gauss-Newton,
//! diagonal). Costs are additive over tokens, so tables of texts can be mixed by arithmetic, and
//! they do not depend on any budget.

use hardtack_format::Encoding;
use hardtack_format::spec::ModelSpec;
use hardtack_models::Recipe;
use serde::{Deserialize, Serialize};

use crate::calibrate::text::Domain;

/// The tables of one calibration.
#[derive(Clone, Debug, PartialEq)]
pub struct Tables {
    /// What was calibrated, on what, and how.
    pub header: Header,
    /// One table for each text, in the header's order.
    pub domains: Vec<DomainTable>,
}

/// What binds tables to a checkpoint, to texts, and to settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Hash of the checkpoint's files.
    pub source: String,
    /// Names of the encodings that were tried, in the order of every row of costs.
    pub options: Vec<String>,
    /// The seed that the caller drew the windows with.
    pub seed: u64,
    /// The texts.
    pub domains: Vec<DomainHeader>,
    /// The layers' parts, first to last.
    pub layers: Vec<LayerHeader>,
}

/// One text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainHeader {
    /// Its name.
    pub name: String,
    /// Hash of the text, as the caller gave it.
    pub source: String,
    /// Hash of its windows of tokens.
    pub tokens_hash: String,
    /// Windows.
    pub windows: u64,
    /// Tokens of all windows.
    pub tokens: u64,
}

impl DomainHeader {
    /// Of a text.
    pub fn of(domain: &Domain) -> Self {
        Self {
            name: domain.name.clone(),
            source: domain.hash.clone(),
            tokens_hash: domain.tokens_hash(),
            windows: domain.tokens.len() as u64,
            tokens: domain.token_count() as u64,
        }
    }
}

/// Which rows of costs a layer has, besides its attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerHeader {
    /// Routed experts.
    pub experts: u32,
    /// Whether it has a shared expert.
    pub shared: bool,
}

/// Costs on one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DomainTable {
    /// Loss of the checkpoint as it is, in nats, summed over all predicted tokens.
    pub loss: f64,
    /// Cost of the embeddings at each option, at the stream before the first layer.
    pub embedding: Vec<f64>,
    /// Cost of the head at each option, at the logits. Tied embeddings cost the sum of both.
    pub head: Vec<f64>,
    /// The layers, first to last.
    pub layers: Vec<LayerTable>,
}

/// Costs of one layer, a row of options each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerTable {
    /// All matrices of its attention together.
    pub attention: Vec<f64>,
    /// The block that every token goes through: the dense block, or the shared expert; empty
    /// without one.
    pub common: Vec<f64>,
    /// The routed experts.
    pub experts: Vec<ExpertTable>,
}

/// One routed expert.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExpertTable {
    /// Its costs.
    pub cost: Vec<f64>,
    /// Tokens that were sent to it.
    pub tokens: u64,
    /// Sum of the weights they gave it.
    pub mass: f64,
}

/// An expert that saw few tokens: its costs mean little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Starved {
    /// Its layer.
    pub layer: usize,
    /// Its number.
    pub expert: usize,
    /// Tokens that were sent to it, over all texts.
    pub tokens: u64,
}

impl Header {
    /// Of a checkpoint whose files have this hash.
    pub(in crate::calibrate) fn new(
        spec: &ModelSpec,
        source: String,
        domains: &[Domain],
        options: &[Encoding],
        seed: u64,
    ) -> Self {
        let layers = spec.layers.iter().map(|layer| match layer.feed_forward.experts() {
            Some(mixture) => {
                LayerHeader { experts: mixture.count, shared: mixture.shared_inner > 0 }
            }
            None => LayerHeader { experts: 0, shared: false },
        });
        Self {
            source,
            options: options.iter().map(|option| option.name().to_owned()).collect(),
            seed,
            domains: domains.iter().map(DomainHeader::of).collect(),
            layers: layers.collect(),
        }
    }

    /// Tables of the right shapes, all zero.
    pub(in crate::calibrate) fn zeros(self) -> Tables {
        let row = vec![0.0; self.options.len()];
        let expert = ExpertTable { cost: row.clone(), ..ExpertTable::default() };
        let layer = |layer: &LayerHeader| LayerTable {
            attention: row.clone(),
            common: if layer.has_common() { row.clone() } else { Vec::new() },
            experts: vec![expert.clone(); layer.experts as usize],
        };
        let layers: Vec<LayerTable> = self.layers.iter().map(layer).collect();
        let domain = DomainTable { loss: 0.0, embedding: row.clone(), head: row.clone(), layers };
        Tables { domains: vec![domain; self.domains.len()], header: self }
    }
}

impl LayerHeader {
    /// Whether there is a block that every token goes through.
    pub fn has_common(&self) -> bool {
        self.shared || self.experts == 0
    }
}

impl Tables {
    /// Tables of a checkpoint that was not calibrated: every cost is zero.
    pub(crate) fn zeros(recipe: &Recipe, domains: &[Domain], options: &[Encoding]) -> Self {
        Header::new(&recipe.spec, String::new(), domains, options, 0).zeros()
    }

    /// Experts that fewer than `tokens_min` tokens were sent to, over all texts.
    pub fn starved(&self, tokens_min: u64) -> Vec<Starved> {
        let mut starved = Vec::new();
        for (layer, header) in self.header.layers.iter().enumerate() {
            for expert in 0..header.experts as usize {
                let tokens = self
                    .domains
                    .iter()
                    .map(|domain| domain.layers[layer].experts[expert].tokens)
                    .sum();
                if tokens < tokens_min {
                    starved.push(Starved { layer, expert, tokens });
                }
            }
        }
        starved
    }
}
