//! The allocation that costs least within a target.

use std::collections::BTreeMap;

use hardtack_format::Encoding;
use hardtack_format::spec::ModelSpec;
use hardtack_models::Recipe;

use super::items::{Item, items};
use super::target::{Method, Target, Wanted};
use crate::assignment::{Assignment, Part};
use crate::calibrate::Tables;
use crate::knapsack::{
    AllocateError, Candidate, Pattern, per_layer, solve, uniform_average, uniform_within,
};

/// What everything but the experts gets where only the experts' bits are wanted.
const REST: Encoding = Encoding::Q6;

/// Costs by group of parts ([`Part::group`]), or factors of such costs.
pub type Factors = BTreeMap<Part, f64>;

/// The choice of one option for every item.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// The encodings.
    pub assignment: Assignment,
    /// Estimated rise of the loss, in nats a token.
    pub cost: f64,
    /// No allocation that keeps to the target costs less.
    pub bound: f64,
}

/// Finds the encodings. Costs are multiplied by `factors` where there is one.
///
/// # Errors
/// The target is too small, or the tables' numbers break the rules of the knapsack.
pub fn allocate(
    recipe: &Recipe,
    tables: &Tables,
    wanted: &Wanted,
    factors: &Factors,
) -> Result<Allocation, AllocateError> {
    let mut items = items(recipe, tables);
    for item in &mut items {
        if let Some(factor) = factors.get(&item.part.group()) {
            item.candidates.iter_mut().for_each(|own| own.cost *= factor);
        }
    }
    let (free, rest): (Vec<&Item>, Vec<&Item>) =
        items.iter().partition(|item| item.is_free(wanted));
    let mut allocation = Allocation::of_rest(&recipe.spec, &rest, wanted.head);
    match wanted.target {
        Target::ExpertBits(average) => allocation.add_by_bits(&free, average, wanted.method)?,
        Target::Bytes(budget) => {
            let fixed = rest.iter().map(|item| fixed_bytes(item, wanted.head)).sum();
            allocation.add_by_bytes(&free, fixed, budget, wanted.method)?;
        }
    }
    Ok(allocation)
}

/// What the tables say that each group of parts costs as it is assigned, in nats a token: those
/// that are left a choice.
pub fn group_costs(
    recipe: &Recipe,
    tables: &Tables,
    wanted: &Wanted,
    assignment: &Assignment,
) -> Factors {
    let mut costs = Factors::new();
    for item in items(recipe, tables).iter().filter(|item| item.is_free(wanted)) {
        if let Some(candidate) = item.assigned(assignment) {
            *costs.entry(item.part.group()).or_default() += candidate.cost;
        }
    }
    costs
}

impl Allocation {
    /// The parts that have no choice.
    fn of_rest(spec: &ModelSpec, items: &[&Item], head: Option<Encoding>) -> Self {
        let assignment = Assignment::uniform(spec, REST, Some(REST));
        let mut allocation = Self { assignment, cost: 0.0, bound: 0.0 };
        for item in items {
            let encoding = head.filter(|_| item.is_end()).unwrap_or(REST);
            allocation.assignment.set(item.part, encoding);
            if let Some(candidate) = item.candidate(encoding) {
                allocation.cost += candidate.cost;
                allocation.bound += candidate.cost;
            }
        }
        allocation
    }

    fn add(&mut self, items: &[&Item], picks: &[usize]) {
        for (item, &pick) in items.iter().zip(picks) {
            self.assignment.set(item.part, item.encodings[pick]);
            self.cost += item.candidates[pick].cost;
        }
    }

    /// Experts by bits instead of bytes: what a code takes, without scales.
    fn add_by_bits(
        &mut self,
        experts: &[&Item],
        average: f64,
        method: Method,
    ) -> Result<(), AllocateError> {
        let layers: Vec<u32> = experts.iter().map(|item| item.layer()).collect();
        let in_bits = |item: &&Item| -> Vec<Candidate> {
            let weight = item.weight();
            let bytes = |own: &Candidate| u64::from(own.bits) * weight;
            item.candidates.iter().map(|own| Candidate { bytes: bytes(own), ..*own }).collect()
        };
        let items: Vec<Vec<Candidate>> = experts.iter().map(in_bits).collect();
        let weights: u64 = experts.iter().map(|item| item.weight()).sum();
        let budget = (average * weights as f64 + 1e-6) as u64;
        let (picks, bound) = picks(&items, &layers, budget, Some(average), method)?;
        self.bound += bound;
        self.add(experts, &picks);
        Ok(())
    }

    /// All parts with a choice against each other, beside `fixed` bytes of others. With a method
    /// that is not global, the experts keep to the bytes that they have together in the global
    /// answer.
    fn add_by_bytes(
        &mut self,
        free: &[&Item],
        fixed: u64,
        budget: u64,
        method: Method,
    ) -> Result<(), AllocateError> {
        let items: Vec<Vec<Candidate>> = free.iter().map(|item| item.candidates.clone()).collect();
        let left =
            budget.checked_sub(fixed).ok_or(AllocateError::Budget { budget, smallest: fixed })?;
        let solution = solve(&items, left).map_err(|error| match error {
            AllocateError::Budget { smallest, .. } => {
                AllocateError::Budget { budget, smallest: smallest + fixed }
            }
            error => error,
        })?;
        self.bound += solution.bound;
        let mut picks = solution.picks;
        if method != Method::Global {
            let experts: Vec<usize> =
                (0..free.len()).filter(|&item| free[item].is_expert()).collect();
            let own: Vec<Vec<Candidate>> =
                experts.iter().map(|&item| items[item].clone()).collect();
            let layers: Vec<u32> = experts.iter().map(|&item| free[item].layer()).collect();
            let share = experts.iter().map(|&item| items[item][picks[item]].bytes).sum();
            let (found, _) = self::picks(&own, &layers, share, None, method)?;
            experts.iter().zip(found).for_each(|(&item, pick)| picks[item] = pick);
        }
        self.add(free, &picks);
        Ok(())
    }
}

fn fixed_bytes(item: &Item, head: Option<Encoding>) -> u64 {
    // A float head is larger than any candidate; its bytes are counted when the file is laid out.
    head.and_then(|head| item.candidate(head)).map_or(0, |candidate| candidate.bytes)
}

/// The picks of a method, and a bound that holds for all of them.
fn picks(
    items: &[Vec<Candidate>],
    layers: &[u32],
    budget: u64,
    average: Option<f64>,
    method: Method,
) -> Result<(Vec<usize>, f64), AllocateError> {
    let best = solve(items, budget)?;
    let picks = match (method, average) {
        (Method::Global, _) => best.picks,
        (Method::PerLayer, _) => per_layer(items, layers, budget)?.picks,
        (Method::Uniform, Some(average)) => {
            uniform_average(items, layers, average, Pattern::Spread)?.picks
        }
        (Method::Uniform, None) => uniform_within(items, budget)?.picks,
    };
    Ok((picks, best.bound))
}
