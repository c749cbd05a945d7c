//! The allocation that costs least: floors are enforced only where the answer without them breaks them.
//!
//! Leaving floors out can only lower the cost. So the knapsack is solved without floors first; groups whose floors the answer
//! breaks are made into classes of their own ([`super::floors`]) and the knapsack is solved again. An answer that breaks none
//! is optimal for the whole problem.

use super::class::{Class, of_item};
use super::error::AllocateError;
use super::floors::{Settled, settle};
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
    /// Whether no allocation costs less than `cost`, up to rounding of its sum. If not (sizes and costs can be made up so that the proof would
    /// take too long), none costs less than `bound`.
    pub exact: bool,
}

/// Finds the picks of least cost within `budget` bytes that meet every floor; of equal costs, those of fewer bytes. The same
/// input gives the same picks.
///
/// An upper limit on an item's precision is a candidate that is left out.
///
/// # Errors
/// Items, costs or groups break their rules, floors cannot be met, or the budget is too small; the last says what would do.
pub fn solve(items: &[Vec<Candidate>], groups: &[Group], budget: u64) -> Result<Solution, AllocateError> {
    check(items, groups)?;
    let smallest = smallest(items, groups)?;
    if smallest > budget {
        return Err(AllocateError::Budget { budget, smallest });
    }
    let mut enforced: Vec<Option<Settled>> = vec![None; groups.len()];
    let mut bound = 0.0f64;
    loop {
        let (picks, own_bound, exact) = solve_enforcing(items, groups, &enforced, budget);
        let complete = enforced.iter().flatten().all(|settled| settled.complete);
        if complete {
            bound = bound.max(own_bound);
        }
        let broken: Vec<usize> = (0..groups.len()).filter(|&group| !meets(&groups[group], items, &picks)).collect();
        if broken.is_empty() {
            let (bytes, cost) = totals(items, &picks);
            return Ok(Solution { picks, bytes, cost, bound: bound.min(cost), exact: exact && complete });
        }
        for group in broken {
            enforced[group] = Some(settle(group, &groups[group], items, |candidate| candidate.cost)?);
        }
    }
}

/// The smallest budget that works.
fn smallest(items: &[Vec<Candidate>], groups: &[Group]) -> Result<u64, AllocateError> {
    let mut free = vec![true; items.len()];
    let mut bytes = 0;
    for (index, group) in groups.iter().enumerate() {
        group.items.iter().for_each(|&item| free[item] = false);
        bytes += settle(index, group, items, |_| 0.0)?.class[0].bytes;
    }
    let least = |candidates: &Vec<Candidate>| candidates.iter().map(|own| own.bytes).min().unwrap_or(0);
    Ok(bytes + items.iter().zip(&free).filter(|(_, free)| **free).map(|(own, _)| least(own)).sum::<u64>())
}

/// The answer when only some groups must meet their floors.
fn solve_enforcing(
    items: &[Vec<Candidate>],
    groups: &[Group],
    enforced: &[Option<Settled>],
    budget: u64,
) -> (Vec<usize>, f64, bool) {
    let mut free = vec![true; items.len()];
    let mut classes: Vec<Class> = Vec::new();
    for (group, settled) in groups.iter().zip(enforced) {
        if let Some(settled) = settled {
            group.items.iter().for_each(|&item| free[item] = false);
            classes.push(settled.class.clone());
        }
    }
    let free: Vec<usize> = (0..items.len()).filter(|&item| free[item]).collect();
    classes.extend(free.iter().map(|&item| of_item(&items[item])));

    let found = search(&classes, budget);
    let mut picks = vec![0; items.len()];
    let mut points = found.points.iter();
    for (group, settled) in groups.iter().zip(enforced) {
        if let Some(settled) = settled {
            let point = *points.next().expect("a point for each class");
            group.items.iter().zip(settled.picks(point)).for_each(|(&item, pick)| picks[item] = pick);
        }
    }
    let own_classes = &classes[classes.len() - free.len()..];
    for ((&item, class), &point) in free.iter().zip(own_classes).zip(points) {
        picks[item] = class[point].origin as usize;
    }
    (picks, found.bound, found.exact)
}
