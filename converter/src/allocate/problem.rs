//! Items, candidates and floors, and the rules that they must keep.

use super::error::AllocateError;

/// Bytes of all items together: sums of them, and their differences, are exact as `i64` and as
/// `f64`.
const BYTES_MAX: u64 = 1 << 52;
/// Costs of all items together: nothing worked out from them overflows.
const COSTS_MAX: f64 = 1e280;

/// One precision that an item can have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// What floors count: bits of a code, or any number that grows with the precision.
    pub bits: u32,
    /// Bytes of the item at this precision.
    pub bytes: u64,
    /// Damage that this precision does, 0 or more, in the same unit for all items.
    pub cost: f64,
}

/// At least `count` items of a group have at least `bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The least precision that counts.
    pub bits: u32,
    /// How many items must have it.
    pub count: usize,
}

/// Items with floors of their own, such as the experts of one layer. An item may be in one group
/// only.
///
/// The floors that GEMQ gives each layer for the widths `b1 > b2 > ...`, "one expert at `b1` and
/// one at `b2`", are here `[(b1, 1), (b2, 2)]`: more precise than asked for is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The items, by their index.
    pub items: Vec<usize>,
    /// What they must meet together.
    pub floors: Vec<Floor>,
}

/// Checks whatever the caller may have got wrong.
pub(super) fn check(items: &[Vec<Candidate>], groups: &[Group]) -> Result<(), AllocateError> {
    let (mut bytes_sum, mut cost_sum) = (0u64, 0.0f64);
    for (item, candidates) in items.iter().enumerate() {
        if candidates.is_empty() {
            return Err(AllocateError::NoCandidates { item });
        }
        for (candidate, &Candidate { cost, .. }) in candidates.iter().enumerate() {
            if !(cost.is_finite() && cost >= 0.0) {
                return Err(AllocateError::Cost { item, candidate, cost });
            }
        }
        bytes_sum =
            bytes_sum.saturating_add(candidates.iter().map(|own| own.bytes).max().unwrap_or(0));
        cost_sum += candidates.iter().map(|own| own.cost).fold(0.0, f64::max);
    }
    if bytes_sum > BYTES_MAX {
        return Err(AllocateError::Sum {
            what: "bytes",
            found: bytes_sum as f64,
            most: BYTES_MAX as f64,
        });
    }
    if cost_sum > COSTS_MAX {
        return Err(AllocateError::Sum { what: "costs", found: cost_sum, most: COSTS_MAX });
    }
    let mut seen = vec![false; items.len()];
    for (group, own) in groups.iter().enumerate() {
        for &item in &own.items {
            if item >= items.len() || std::mem::replace(&mut seen[item], true) {
                return Err(AllocateError::Item { group, item, items: items.len() });
            }
        }
    }
    Ok(())
}

/// Bytes and cost of one pick for each item.
pub(super) fn totals(items: &[Vec<Candidate>], picks: &[usize]) -> (u64, f64) {
    assert_eq!(items.len(), picks.len(), "a pick for each item");
    let chosen = || items.iter().zip(picks).map(|(candidates, &pick)| candidates[pick]);
    (chosen().map(|own| own.bytes).sum(), chosen().map(|own| own.cost).sum())
}

/// Whether the picks meet the floors of a group.
pub(super) fn meets(group: &Group, items: &[Vec<Candidate>], picks: &[usize]) -> bool {
    group.floors.iter().all(|floor| {
        let reached =
            group.items.iter().filter(|&&item| items[item][picks[item]].bits >= floor.bits);
        reached.count() >= floor.count
    })
}
