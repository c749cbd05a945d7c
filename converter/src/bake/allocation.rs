//! From costs to encodings: every expert, attention, common block and the embeddings are items of
//! one knapsack.

use std::collections::BTreeMap;
use std::fmt;

use hardtack_format::spec::ModelSpec;
use hardtack_format::{Encoding, Role, SectionKey, SectionKind};
use hardtack_models::{Recipe, TensorSource};

use super::assignment::{Assignment, Part};
use super::provenance::STARVED_TOKENS;
use crate::allocate::{
    AllocateError, Candidate, Pattern, per_layer, solve, uniform_average, uniform_within,
};
use crate::calibrate::Tables;
use crate::calibrate::tables::DomainTable;

/// What an allocation must keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Most bytes of the parts that are allocated: everything but what has no choice.
    Bytes(u64),
    /// Most bits of the routed experts' codes, on average over their weights. All else gets 6 bits.
    ExpertBits(f64),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
            Self::ExpertBits(bits) => write!(f, "{bits} bits per expert"),
        }
    }
}

/// How experts share the bits. What is not an expert is always allocated for the whole model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// All experts of the model against each other (GEMQ).
    Global,
    /// Every layer gets the same share and divides it among its experts.
    PerLayer,
    /// All experts alike; at a fraction of a bit, evenly spread layers get one more.
    Uniform,
}

impl Method {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::PerLayer => "per-layer",
            Self::Uniform => "uniform",
        }
    }
}

/// What is asked of an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// What it must keep to.
    pub target: Target,
    /// How experts share the bits.
    pub method: Method,
    /// Encoding of embeddings and head, where it is not left to the allocation.
    pub head: Option<Encoding>,
    /// The encodings of the model that costs were taken on, if it was quantized already: no part
    /// gets more bits than it has, and what it has costs nothing.
    pub ceiling: Option<&'a Assignment>,
    /// What costs are taken times, by group of parts, where that was measured.
    pub factors: Option<&'a Factors>,
}

/// What a measured cost is of an estimated one, by group of parts ([`Part::group`]).
pub type Factors = BTreeMap<Part, f64>;

/// One allocation.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// The encodings.
    pub assignment: Assignment,
    /// Estimated rise of the loss, in nats a token.
    pub cost: f64,
    /// No allocation that keeps to the target costs less.
    pub bound: f64,
}

/// What everything but the experts gets where only the experts' bits are asked for.
pub const REST: Encoding = Encoding::Q6;
/// Least bits of what every token meets. The costs look at one part at a time; of these parts
/// errors add up for every token.
const ATTENTION_BITS_MIN: u32 = 3;
const COMMON_BITS_MIN: u32 = 2;
const EMBEDDING_BITS_MIN: u32 = 4;
/// An expert that few tokens reached gets, besides its own costs, those of so many tokens of its
/// layer's mean: costs that nobody measured are not zero.
const PRIOR_TOKENS: f64 = 32.0;

/// One part with what each option costs and takes.
struct Item {
    part: Part,
    candidates: Vec<Candidate>,
    /// The encoding of each candidate.
    encodings: Vec<Encoding>,
}

impl Item {
    /// Keeps what takes at most the bits of an encoding that the part has already, which costs
    /// nothing more. A part of floats is no choice.
    fn lower(&mut self, ceiling: Encoding) {
        let Some(bits) = ceiling.code_bits() else { return };
        let kept = self.candidates.iter().filter(|own| own.bits <= bits).count();
        self.candidates.truncate(kept);
        self.encodings.truncate(kept);
        self.candidates.iter_mut().filter(|own| own.bits == bits).for_each(|own| own.cost = 0.0);
    }

    /// The candidate that it is assigned; nothing if that is none of them.
    fn assigned(&self, assignment: &Assignment) -> Option<&Candidate> {
        let encoding = assignment.part(self.part);
        self.encodings.iter().position(|own| *own == encoding).map(|pick| &self.candidates[pick])
    }
}

/// Finds the encodings.
///
/// # Errors
/// The target is too small, or the tables' numbers break the rules of the knapsack.
pub fn allocate(
    recipe: &Recipe,
    tables: &Tables,
    order: &Order<'_>,
) -> Result<Allocation, AllocateError> {
    let &Order { target, method, head, ceiling, factors } = order;
    let mut parts = parts(recipe, tables);
    if let Some(ceiling) = ceiling {
        parts.iter_mut().for_each(|item| item.lower(ceiling.part(item.part)));
    }
    for item in &mut parts {
        if let Some(factor) = factors.and_then(|factors| factors.get(&item.part.group())) {
            item.candidates.iter_mut().for_each(|own| own.cost *= factor);
        }
    }
    let (free, rest): (Vec<&Item>, Vec<&Item>) =
        parts.iter().partition(|item| is_free(item, order));
    let mut picked = Picked::new(&recipe.spec);
    picked.rest(&rest, head);
    match target {
        Target::ExpertBits(average) => experts_by_bits(&free, average, method, &mut picked)?,
        Target::Bytes(budget) => {
            let fixed = rest.iter().map(|item| fixed_bytes(item, head)).sum();
            by_bytes(&free, fixed, budget, method, &mut picked)?;
        }
    }
    Ok(Allocation { assignment: picked.assignment, cost: picked.cost, bound: picked.bound })
}

/// What the tables say that each group of parts costs as it is assigned, in nats a token: those
/// that an order leaves a choice.
pub fn group_costs(
    recipe: &Recipe,
    tables: &Tables,
    order: &Order<'_>,
    assignment: &Assignment,
) -> Factors {
    let mut costs = Factors::new();
    for item in parts(recipe, tables).iter().filter(|item| is_free(item, order)) {
        if let Some(candidate) = item.assigned(assignment) {
            *costs.entry(item.part.group()).or_default() += candidate.cost;
        }
    }
    costs
}

fn is_expert(item: &Item) -> bool {
    matches!(item.part, Part::Expert(..))
}

/// Whether an order leaves a part a choice.
fn is_free(item: &Item, order: &Order<'_>) -> bool {
    match order.target {
        Target::ExpertBits(_) => is_expert(item),
        Target::Bytes(_) => {
            order.head.is_none() || !matches!(item.part, Part::Embedding | Part::Head)
        }
    }
}

/// Bytes of the parts that have a choice, as they are assigned.
pub fn assigned_bytes(recipe: &Recipe, assignment: &Assignment) -> u64 {
    part_bytes(recipe, assignment, |_| true).0
}

/// Bytes and weights of some parts, as they are assigned.
pub fn part_bytes(
    recipe: &Recipe,
    assignment: &Assignment,
    is_own: fn(Part) -> bool,
) -> (u64, u64) {
    let mut sums = (0, 0);
    let mut add = |section: SectionKey, tensors: &[TensorSource]| {
        for source in tensors.iter().filter(|source| !source.is_vector()) {
            if Part::of(section, source.role).is_some_and(is_own) {
                sums.0 += bytes(source, assignment.of(section, source.role));
                sums.1 +=
                    u64::from(source.stack) * u64::from(source.rows) * u64::from(source.columns);
            }
        }
    };
    add(SectionKey::only(SectionKind::Globals), &recipe.globals);
    for (index, layer) in (0..).zip(&recipe.layers) {
        add(SectionKey::layer(index), &layer.tensors);
        (0..)
            .zip(&layer.experts)
            .for_each(|(expert, own)| add(SectionKey::expert(index, expert), own));
    }
    sums
}

fn bytes(source: &TensorSource, encoding: Encoding) -> u64 {
    encoding.tensor_bytes(source.stack, source.rows, source.columns).unwrap_or(u64::MAX >> 8)
}

/// Costs of all texts in equal parts, in nats a token.
struct Mix<'a> {
    tables: &'a Tables,
    /// What a summed cost of each text counts.
    shares: Vec<f64>,
}

impl<'a> Mix<'a> {
    fn new(tables: &'a Tables) -> Self {
        let texts = tables.domains.len() as f64;
        // Half of the sum of squares estimates the rise of the loss.
        let shares =
            tables.header.domains.iter().map(|own| 0.5 / (own.tokens as f64 * texts)).collect();
        Self { tables, shares }
    }

    fn row(&self, of: impl Fn(&DomainTable) -> &[f64]) -> Vec<f64> {
        let mut sum = vec![0.0; self.tables.header.options.len()];
        for (domain, share) in self.tables.domains.iter().zip(&self.shares) {
            sum.iter_mut().zip(of(domain)).for_each(|(sum, cost)| *sum += share * cost);
        }
        sum
    }

    /// Costs of every expert of a layer.
    fn experts(&self, layer: usize, count: usize) -> Vec<Vec<f64>> {
        let tokens = |expert: usize| -> u64 {
            self.tables
                .domains
                .iter()
                .map(|domain| domain.layers[layer].experts[expert].tokens)
                .sum()
        };
        let mut costs: Vec<Vec<f64>> = (0..count)
            .map(|expert| self.row(|domain| &domain.layers[layer].experts[expert].cost))
            .collect();
        let all: u64 = (0..count).map(tokens).sum();
        let mut mean = vec![0.0; self.tables.header.options.len()];
        for own in &costs {
            mean.iter_mut().zip(own).for_each(|(mean, cost)| *mean += cost / all.max(1) as f64);
        }
        for (_, own) in
            costs.iter_mut().enumerate().filter(|(expert, _)| tokens(*expert) < STARVED_TOKENS)
        {
            own.iter_mut().zip(&mean).for_each(|(cost, mean)| *cost += PRIOR_TOKENS * mean);
        }
        costs
    }
}

/// Every item with its costs.
fn parts(recipe: &Recipe, tables: &Tables) -> Vec<Item> {
    let options: Vec<Encoding> = tables
        .header
        .options
        .iter()
        .map(|name| Encoding::from_name(name).expect("a table of encodings"))
        .collect();
    let item = |part: Part,
                costs: Vec<f64>,
                section: SectionKey,
                tensors: &[TensorSource],
                bits_min: u32| {
        let own = |encoding: Encoding| -> u64 {
            let matrices = tensors.iter().filter(|source| {
                Part::of(section, source.role) == Some(part) && !source.is_vector()
            });
            matrices.map(|source| bytes(source, encoding)).sum()
        };
        let (encodings, candidates) = options
            .iter()
            .zip(costs)
            .filter_map(|(&option, cost)| {
                let bits = option.code_bits().filter(|bits| *bits >= bits_min)?;
                Some((option, Candidate { bits, bytes: own(option), cost }))
            })
            .unzip();
        Item { part, candidates, encodings }
    };
    let mix = Mix::new(tables);
    let globals = SectionKey::only(SectionKind::Globals);
    let mut embedding = mix.row(|domain| &domain.embedding);
    let head = mix.row(|domain| &domain.head);
    let mut items = Vec::new();
    if recipe.globals.iter().any(|source| source.role == Role::Head) {
        items.push(item(Part::Embedding, embedding, globals, &recipe.globals, EMBEDDING_BITS_MIN));
        items.push(item(Part::Head, head, globals, &recipe.globals, EMBEDDING_BITS_MIN));
    } else {
        embedding.iter_mut().zip(&head).for_each(|(own, other)| *own += other);
        items.push(item(Part::Embedding, embedding, globals, &recipe.globals, EMBEDDING_BITS_MIN));
    }
    for (index, layer) in recipe.layers.iter().enumerate() {
        let section = SectionKey::layer(index as u32);
        let attention = mix.row(|domain| &domain.layers[index].attention);
        items.push(item(
            Part::Attention(index),
            attention,
            section,
            &layer.tensors,
            ATTENTION_BITS_MIN,
        ));
        if tables.header.layers[index].has_common() {
            let common = mix.row(|domain| &domain.layers[index].common);
            items.push(item(Part::Common(index), common, section, &layer.tensors, COMMON_BITS_MIN));
        }
        let costs = mix.experts(index, layer.experts.len());
        for (expert, (tensors, costs)) in layer.experts.iter().zip(costs).enumerate() {
            let section = SectionKey::expert(index as u32, expert as u32);
            items.push(item(Part::Expert(index, expert), costs, section, tensors, 1));
        }
    }
    items
}

/// What was picked so far.
struct Picked {
    assignment: Assignment,
    cost: f64,
    bound: f64,
}

impl Picked {
    fn new(spec: &ModelSpec) -> Self {
        Self { assignment: Assignment::uniform(spec, REST, Some(REST)), cost: 0.0, bound: 0.0 }
    }

    fn take(&mut self, item: &Item, pick: usize) {
        self.assignment.set(item.part, item.encodings[pick]);
        self.cost += item.candidates[pick].cost;
    }

    /// The encodings that are not a choice.
    fn rest(&mut self, items: &[&Item], head: Option<Encoding>) {
        for item in items {
            let is_end = matches!(item.part, Part::Embedding | Part::Head);
            let encoding = head.filter(|_| is_end).unwrap_or(REST);
            self.assignment.set(item.part, encoding);
            if let Some(pick) = item.encodings.iter().position(|own| *own == encoding) {
                self.cost += item.candidates[pick].cost;
                self.bound += item.candidates[pick].cost;
            }
        }
    }
}

fn layer_of(item: &Item) -> u32 {
    match item.part {
        Part::Expert(layer, _) | Part::Attention(layer) | Part::Common(layer) => layer as u32,
        Part::Embedding | Part::Head => 0,
    }
}

/// How large an expert is beside the others: its bytes at the fewest bits, which every expert has.
fn unit(item: &Item) -> u64 {
    item.candidates.first().map_or(1, |own| own.bytes)
}

/// Bits instead of bytes: what a code takes, without scales.
fn experts_by_bits(
    experts: &[&Item],
    average: f64,
    method: Method,
    picked: &mut Picked,
) -> Result<(), AllocateError> {
    let layers: Vec<u32> = experts.iter().map(|item| layer_of(item)).collect();
    let in_bits = |item: &&Item| -> Vec<Candidate> {
        let unit = unit(item);
        item.candidates
            .iter()
            .map(|own| Candidate { bytes: u64::from(own.bits) * unit, ..*own })
            .collect()
    };
    let items: Vec<Vec<Candidate>> = experts.iter().map(in_bits).collect();
    let units: u64 = experts.iter().map(|item| unit(item)).sum();
    let budget = (average * units as f64 + 1e-6) as u64;
    let (picks, bound) = picks(&items, &layers, budget, Some(average), method)?;
    picked.bound += bound;
    experts.iter().zip(picks).for_each(|(item, pick)| picked.take(item, pick));
    Ok(())
}

/// All parts with a choice against each other, beside `fixed` bytes of others; with a method that
/// is not global, the experts keep to the bytes that the global answer gives them together.
fn by_bytes(
    free: &[&Item],
    fixed: u64,
    budget: u64,
    method: Method,
    picked: &mut Picked,
) -> Result<(), AllocateError> {
    let items: Vec<Vec<Candidate>> = free.iter().map(|item| item.candidates.clone()).collect();
    let left =
        budget.checked_sub(fixed).ok_or(AllocateError::Budget { budget, smallest: fixed })?;
    let solution = solve(&items, &[], left).map_err(|error| match error {
        AllocateError::Budget { smallest, .. } => {
            AllocateError::Budget { budget, smallest: smallest + fixed }
        }
        error => error,
    })?;
    picked.bound += solution.bound;
    let mut picks = solution.picks;
    if method != Method::Global {
        let experts: Vec<usize> = (0..free.len()).filter(|&item| is_expert(free[item])).collect();
        let own: Vec<Vec<Candidate>> = experts.iter().map(|&item| items[item].clone()).collect();
        let layers: Vec<u32> = experts.iter().map(|&item| layer_of(free[item])).collect();
        let share = experts.iter().map(|&item| items[item][picks[item]].bytes).sum();
        let (found, _) = self::picks(&own, &layers, share, None, method)?;
        experts.iter().zip(found).for_each(|(&item, pick)| picks[item] = pick);
    }
    free.iter().zip(picks).for_each(|(item, pick)| picked.take(item, pick));
    Ok(())
}

fn fixed_bytes(item: &Item, head: Option<Encoding>) -> u64 {
    let known = head.and_then(|head| item.encodings.iter().position(|own| *own == head));
    // A float head is larger than any candidate; its bytes are counted when the file is laid out.
    known.map_or(0, |pick| item.candidates[pick].bytes)
}

/// The picks of a method, and a bound that holds for all of them.
fn picks(
    items: &[Vec<Candidate>],
    layers: &[u32],
    budget: u64,
    average: Option<f64>,
    method: Method,
) -> Result<(Vec<usize>, f64), AllocateError> {
    let best = solve(items, &[], budget)?;
    let picks = match (method, average) {
        (Method::Global, _) => best.picks,
        (Method::PerLayer, _) => per_layer(items, layers, &[], budget)?.picks,
        (Method::Uniform, Some(average)) => {
            uniform_average(items, layers, average, Pattern::Spread)?.picks
        }
        (Method::Uniform, None) => uniform_within(items, budget)?.picks,
    };
    Ok((picks, best.bound))
}
