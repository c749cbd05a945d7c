//! What an item may get, and the rules that its numbers must keep.

use super::error::AllocateError;

/// Bytes of all items together: sums of them, and their differences, are exact as `i64` and as
/// `f64`.
const BYTES_MAX: u64 = 1 << 52;
/// Costs of all items together: nothing computed from them overflows.
const COSTS_MAX: f64 = 1e280;

/// One precision that an item can have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Bits of a code, or any number that grows with the precision: what baselines compare.
    pub bits: u32,
    /// Bytes of the item at this precision.
    pub bytes: u64,
    /// Damage that this precision does, 0 or more, in the same unit for all items.
    pub cost: f64,
}

/// Checks whatever the caller may have got wrong.
pub(super) fn check(items: &[Vec<Candidate>]) -> Result<(), AllocateError> {
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
    Ok(())
}

/// Bytes and cost of one pick for each item.
pub(super) fn totals(items: &[Vec<Candidate>], picks: &[usize]) -> (u64, f64) {
    assert_eq!(items.len(), picks.len(), "a pick for each item");
    let chosen = || items.iter().zip(picks).map(|(candidates, &pick)| candidates[pick]);
    (chosen().map(|own| own.bytes).sum(), chosen().map(|own| own.cost).sum())
}
