//! The allocation that costs least: floors are enforced only where the answer without them breaks
//! them.
//!
//! Leaving floors out can only lower the cost. So the knapsack is solved without floors first;
//! groups whose floors the answer breaks are enforced ([`super::enforce`]) and the knapsack is
//! solved again. An answer that breaks none is optimal for the whole problem.

use super::class::{Class, of_item};
use super::enforce::{Answer, Enforced};
use super::error::AllocateError;
use super::floors::Tracked;
use super::problem::{Candidate, Group, check, meets, totals};
use super::search::search;

/// One pick for each item.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// The candidate of each item, by its index.
    pub picks: Vec<usize>,
    /// Bytes of the picks.
    pub bytes: u64,
    /// Cost of the picks.
    pub cost: f64,
    /// No allocation within the budget costs less than this: the Lagrangian bound.
    pub bound: f64,
    /// Whether no allocation costs less than `cost`, up to rounding of its sum. If not (sizes and
    /// costs can be made up so that the proof would take too long), none costs less than `bound`.
    pub exact: bool,
}

/// Finds the picks of least cost within `budget` bytes that meet every floor; of equal costs, those
/// of fewer bytes. The same input gives the same picks.
///
/// An upper limit on an item's precision is a candidate that is left out.
///
/// # Errors
/// Items, costs or groups break their rules, floors cannot be met, or the budget is too small; the
/// last says what would do.
pub fn solve(
    items: &[Vec<Candidate>],
    groups: &[Group],
    budget: u64,
) -> Result<Solution, AllocateError> {
    check(items, groups)?;
    let track = |(index, group): (usize, &Group)| Tracked::new(index, group, items);
    let tracked: Vec<Tracked> = groups.iter().enumerate().map(track).collect::<Result<_, _>>()?;
    let smallest = smallest(items, groups, &tracked);
    if smallest > budget {
        return Err(AllocateError::Budget { budget, smallest });
    }
    let classes: Vec<Class> = items.iter().map(|candidates| of_item(candidates)).collect();
    let found = search(&classes, budget);
    let picks = classes
        .iter()
        .zip(&found.points)
        .map(|(class, &point)| class[point].origin as usize)
        .collect();
    let mut answer = Answer { picks, bound: found.bound, price: found.price, exact: found.exact };
    let mut bound = answer.bound;
    let mut is_enforced = vec![false; groups.len()];
    loop {
        let broken = |group: &usize| !meets(&groups[*group], items, &answer.picks);
        let broken: Vec<usize> = (0..groups.len()).filter(broken).collect();
        if broken.is_empty() {
            let (bytes, cost) = totals(items, &answer.picks);
            return Ok(Solution {
                picks: answer.picks,
                bytes,
                cost,
                bound: bound.min(cost),
                exact: answer.exact,
            });
        }
        broken.into_iter().for_each(|group| is_enforced[group] = true);
        let own =
            groups.iter().zip(&tracked).zip(&is_enforced).filter(|(_, is_enforced)| **is_enforced);
        let enforced = Enforced::new(own.map(|(own, _)| own).collect(), items, &classes, budget);
        answer = enforced.solve(answer.price);
        bound = bound.max(answer.bound);
    }
}

/// The smallest budget that works.
fn smallest(items: &[Vec<Candidate>], groups: &[Group], tracked: &[Tracked]) -> u64 {
    let mut least: Vec<u64> = items
        .iter()
        .map(|candidates| candidates.iter().map(|own| own.bytes).min().unwrap_or(0))
        .collect();
    groups.iter().flat_map(|group| &group.items).for_each(|&item| least[item] = 0);
    let in_groups = tracked.iter().map(|own| own.least(|candidate| candidate.bytes as f64).bytes);
    in_groups.chain(least).sum()
}
