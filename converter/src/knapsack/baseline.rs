//! Allocations that results are compared with: one precision everywhere, an average of two, and
//! equal shares for the layers.

use super::candidate::{Candidate, check, totals};
use super::error::AllocateError;
use super::solve::solve;

/// Picks without a claim to be good.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// The candidate of each item, by its index.
    pub picks: Vec<usize>,
    /// Bytes of the picks.
    pub bytes: u64,
    /// Cost of the picks.
    pub cost: f64,
}

/// Which layers get the higher of two precisions in [`uniform_average`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The first ones.
    First,
    /// Evenly spread ones, the last layer among them.
    Spread,
}

/// Every item at the same bits: the most that every item has and that fit the budget.
///
/// # Errors
/// Items break their rules, have no bits in common, or do not fit.
pub fn uniform_within(items: &[Vec<Candidate>], budget: u64) -> Result<Baseline, AllocateError> {
    check(items)?;
    let common = common_bits(items);
    let mut smallest = u64::MAX;
    for &bits in common.iter().rev() {
        let uniform = baseline(items, |_| bits);
        if uniform.bytes <= budget {
            return Ok(uniform);
        }
        smallest = smallest.min(uniform.bytes);
    }
    if common.is_empty() {
        Err(AllocateError::Average { average: 0.0 })
    } else {
        Err(AllocateError::Budget { budget, smallest })
    }
}

/// Two precisions by layers, which average at most `average` bits, each layer counting the same.
///
/// With `low <= average < high` the neighbouring bits that all items have, a share of
/// `(average - low) / (high - low)` of the layers, rounded down, gets `high` and the others `low`.
/// At 2.5 bits of {2, 3} that is half of the layers; it is what is done without any calibration.
/// An average that all items have as bits is uniform.
///
/// # Errors
/// Items break their rules, there is not a layer for each, or the average is below or above the
/// bits that all items have.
pub fn uniform_average(
    items: &[Vec<Candidate>],
    layers: &[u32],
    average: f64,
    pattern: Pattern,
) -> Result<Baseline, AllocateError> {
    check(items)?;
    let layers_of = sorted_layers(items, layers)?;
    let common = common_bits(items);
    let low = common.iter().rev().copied().find(|&bits| f64::from(bits) <= average);
    let high = common.iter().copied().find(|&bits| f64::from(bits) >= average);
    let (Some(low), Some(high)) = (low, high) else {
        return Err(AllocateError::Average { average });
    };
    let share = if low == high { 0.0 } else { (average - f64::from(low)) / f64::from(high - low) };
    let count = layers_of.len();
    // A share such as 0.3 of 10 layers must not become 2.999...
    let raised = (share * count as f64 + 1e-9).floor() as usize;
    let is_raised = |place: usize| match pattern {
        Pattern::First => place < raised,
        Pattern::Spread => (place + 1) * raised / count > place * raised / count,
    };
    Ok(baseline(items, |item| {
        let place = layers_of.binary_search(&layers[item]).expect("every layer is listed");
        if is_raised(place) { high } else { low }
    }))
}

/// Every layer gets the same share of the budget, which it divides among its items as well as can
/// be. What a layer leaves of its share stays unused.
///
/// # Errors
/// Those of [`solve`]; a layer that does not fit its share makes the budget too small.
pub fn per_layer(
    items: &[Vec<Candidate>],
    layers: &[u32],
    budget: u64,
) -> Result<Baseline, AllocateError> {
    check(items)?;
    let layers_of = sorted_layers(items, layers)?;
    let share = budget / layers_of.len().max(1) as u64;
    let mut picks = vec![0; items.len()];
    let mut smallest_share = 0;
    for &layer in &layers_of {
        let own: Vec<usize> = (0..items.len()).filter(|&item| layers[item] == layer).collect();
        let own_items: Vec<Vec<Candidate>> = own.iter().map(|&item| items[item].clone()).collect();
        match solve(&own_items, share) {
            Ok(solution) => {
                own.iter().zip(solution.picks).for_each(|(&item, pick)| picks[item] = pick)
            }
            Err(AllocateError::Budget { smallest, .. }) => {
                smallest_share = smallest.max(smallest_share)
            }
            Err(error) => return Err(error),
        }
    }
    if smallest_share > 0 {
        let smallest = smallest_share.saturating_mul(layers_of.len() as u64);
        return Err(AllocateError::Budget { budget, smallest });
    }
    let (bytes, cost) = totals(items, &picks);
    Ok(Baseline { picks, bytes, cost })
}

/// The layers there are, in order.
fn sorted_layers(items: &[Vec<Candidate>], layers: &[u32]) -> Result<Vec<u32>, AllocateError> {
    if layers.len() != items.len() {
        return Err(AllocateError::Layers { items: items.len(), layers: layers.len() });
    }
    let mut sorted = layers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    Ok(sorted)
}

/// Bits that every item has, in growing order.
fn common_bits(items: &[Vec<Candidate>]) -> Vec<u32> {
    let has = |own: &[Candidate], bits: u32| own.iter().any(|candidate| candidate.bits == bits);
    let mut common: Vec<u32> =
        items.first().into_iter().flatten().map(|candidate| candidate.bits).collect();
    common.retain(|&bits| items.iter().all(|own| has(own, bits)));
    common.sort_unstable();
    common.dedup();
    common
}

/// The first candidate of each item with the bits that are wanted.
fn baseline(items: &[Vec<Candidate>], bits: impl Fn(usize) -> u32) -> Baseline {
    let pick = |(item, own): (usize, &Vec<Candidate>)| {
        own.iter()
            .position(|candidate| candidate.bits == bits(item))
            .expect("bits that every item has")
    };
    let picks: Vec<usize> = items.iter().enumerate().map(pick).collect();
    let (bytes, cost) = totals(items, &picks);
    Baseline { picks, bytes, cost }
}
