//! The parts of a network as items of the knapsack: what each option costs and takes.

use hardtack_format::{Encoding, Role, SectionKey, SectionKind};
use hardtack_models::{Recipe, TensorSource};

use super::costs::Costs;
use super::sizes::bytes;
use super::target::{Target, Wanted};
use crate::assignment::{Assignment, Part};
use crate::calibrate::Tables;
use crate::knapsack::Candidate;

/// Least bits of what every token goes through. The costs look at one part at a time; of these
/// parts errors add up for every token.
const ATTENTION_BITS_MIN: u32 = 3;
const COMMON_BITS_MIN: u32 = 2;
const EMBEDDING_BITS_MIN: u32 = 4;
const EXPERT_BITS_MIN: u32 = 1;

/// One part with its options: candidates of the knapsack, and the encoding of each.
pub struct Item {
    pub part: Part,
    pub candidates: Vec<Candidate>,
    pub encodings: Vec<Encoding>,
}

impl Item {
    /// The candidate of an encoding; none where the part has no choice of it.
    pub fn candidate(&self, encoding: Encoding) -> Option<&Candidate> {
        let pick = self.encodings.iter().position(|own| *own == encoding)?;
        Some(&self.candidates[pick])
    }

    /// The candidate that it is assigned.
    pub fn assigned(&self, assignment: &Assignment) -> Option<&Candidate> {
        self.candidate(assignment.part(self.part))
    }

    pub fn is_expert(&self) -> bool {
        matches!(self.part, Part::Expert(..))
    }

    pub fn is_end(&self) -> bool {
        matches!(self.part, Part::Embedding | Part::Head)
    }

    /// Whether the part is left a choice.
    pub fn is_free(&self, wanted: &Wanted) -> bool {
        match wanted.target {
            Target::ExpertBits(_) => self.is_expert(),
            Target::Bytes(_) => wanted.head.is_none() || !self.is_end(),
        }
    }

    pub fn layer(&self) -> u32 {
        match self.part {
            Part::Expert(layer, _) | Part::Attention(layer) | Part::Common(layer) => layer as u32,
            Part::Embedding | Part::Head => 0,
        }
    }

    /// How large it is beside others: its bytes at the fewest bits, which every expert has.
    pub fn weight(&self) -> u64 {
        self.candidates.first().map_or(1, |own| own.bytes)
    }
}

/// Every part with its costs.
pub fn items(recipe: &Recipe, tables: &Tables) -> Vec<Item> {
    let options: Vec<Encoding> = tables
        .header
        .options
        .iter()
        .map(|name| Encoding::from_name(name).expect("a table of encodings"))
        .collect();
    let item = |part, costs: Vec<f64>, (section, tensors): (SectionKey, &[TensorSource]), least| {
        let matrices: Vec<&TensorSource> = tensors
            .iter()
            .filter(|own| Part::of(section, own.role) == Some(part) && !own.is_vector())
            .collect();
        let (encodings, candidates) = options
            .iter()
            .zip(costs)
            .filter_map(|(&option, cost)| {
                let bits = option.code_bits().filter(|bits| *bits >= least)?;
                let bytes = matrices.iter().map(|source| bytes(source, option)).sum();
                Some((option, Candidate { bits, bytes, cost }))
            })
            .unzip();
        Item { part, candidates, encodings }
    };
    let costs = Costs::new(tables);
    let globals = (SectionKey::only(SectionKind::Globals), recipe.globals.as_slice());
    let mut embedding = costs.row(|domain| &domain.embedding);
    let head = costs.row(|domain| &domain.head);
    let mut items = Vec::new();
    if recipe.globals.iter().any(|source| source.role == Role::Head) {
        items.push(item(Part::Embedding, embedding, globals, EMBEDDING_BITS_MIN));
        items.push(item(Part::Head, head, globals, EMBEDDING_BITS_MIN));
    } else {
        embedding.iter_mut().zip(&head).for_each(|(own, other)| *own += other);
        items.push(item(Part::Embedding, embedding, globals, EMBEDDING_BITS_MIN));
    }
    for (index, layer) in recipe.layers.iter().enumerate() {
        let shared = (SectionKey::layer(index as u32), layer.tensors.as_slice());
        let attention = costs.row(|domain| &domain.layers[index].attention);
        items.push(item(Part::Attention(index), attention, shared, ATTENTION_BITS_MIN));
        if tables.header.layers[index].has_common() {
            let common = costs.row(|domain| &domain.layers[index].common);
            items.push(item(Part::Common(index), common, shared, COMMON_BITS_MIN));
        }
        let experts = costs.experts(index, layer.experts.len());
        for (expert, (tensors, costs)) in layer.experts.iter().zip(experts).enumerate() {
            let section = SectionKey::expert(index as u32, expert as u32);
            let own = (section, tensors.as_slice());
            items.push(item(Part::Expert(index, expert), costs, own, EXPERT_BITS_MIN));
        }
    }
    items
}
