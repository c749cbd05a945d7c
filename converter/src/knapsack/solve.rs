//! The allocation that costs least.

use super::candidate::{Candidate, check, totals};
use super::error::AllocateError;
use super::frontier::unbeaten;
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

/// Finds the picks of least cost within `budget` bytes; of equal costs, those of fewer bytes. The
/// same input yields the same picks.
///
/// An upper or lower limit on an item's precision is a candidate that is left out.
///
/// # Errors
/// Items or costs break their rules, or the budget is too small; the last says what would do.
pub fn solve(items: &[Vec<Candidate>], budget: u64) -> Result<Solution, AllocateError> {
    check(items)?;
    let indices: Vec<Vec<usize>> = items.iter().map(|own| unbeaten(own)).collect();
    let frontiers: Vec<Vec<Candidate>> = indices
        .iter()
        .zip(items)
        .map(|(indices, own)| indices.iter().map(|&index| own[index]).collect())
        .collect();
    let smallest = frontiers.iter().map(|own| own[0].bytes).sum();
    if smallest > budget {
        return Err(AllocateError::Budget { budget, smallest });
    }
    let found = search(&frontiers, budget);
    let picks: Vec<usize> =
        indices.iter().zip(&found.points).map(|(indices, &point)| indices[point]).collect();
    let (bytes, cost) = totals(items, &picks);
    Ok(Solution { picks, bytes, cost, bound: found.bound.min(cost), exact: found.exact })
}
