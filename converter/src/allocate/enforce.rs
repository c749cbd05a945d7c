//! The knapsack with some floors enforced: a price is found first, and groups are settled only as
//! far as it leaves doubt.
//!
//! At any price for a byte, `sum of least (cost + price * bytes) - price * budget` is below every
//! answer. An answer that lies `gap` above it has no group, and is beaten by no answer with a
//! group, that is settled more than `gap` above that group's own least. So the groups are settled
//! within an allowance; if the answer's gap turns out larger, that gap is the next allowance.

use super::class::Class;
use super::floors::{Settled, Tracked};
use super::problem::{Candidate, Group, totals};
use super::search::search;

/// Halvings of the interval that the price is in.
const HALVINGS: usize = 60;
/// Share of what the largest step of an item is worth that is tried as the first allowance.
const FIRST_ALLOWANCE: f64 = 1e-3;
/// Relative slack for sums that are equal but for rounding.
const ROUNDING: f64 = 1e-12;

/// Groups whose floors must be met; all others need not.
#[derive(Debug)]
pub struct Enforced<'a> {
    groups: Vec<(&'a Group, &'a Tracked)>,
    items: &'a [Vec<Candidate>],
    /// Items of no enforced group, and their classes.
    free: Vec<(usize, &'a Class)>,
    budget: u64,
}

/// Picks that meet the enforced floors.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The candidate of each item.
    pub picks: Vec<usize>,
    /// No answer costs less than this.
    pub bound: f64,
    /// Cost that the last bytes save.
    pub price: f64,
    /// Whether no answer costs less than these picks.
    pub exact: bool,
}

impl<'a> Enforced<'a> {
    /// Takes the classes of all items apart into those of enforced groups and the others.
    pub fn new(
        groups: Vec<(&'a Group, &'a Tracked)>,
        items: &'a [Vec<Candidate>],
        classes: &'a [Class],
        budget: u64,
    ) -> Self {
        let mut is_free = vec![true; items.len()];
        groups.iter().flat_map(|(group, _)| &group.items).for_each(|&item| is_free[item] = false);
        let free = classes.iter().enumerate().filter(|(item, _)| is_free[*item]).collect();
        Self { groups, items, free, budget }
    }

    /// Solves it; the budget must be large enough. `price` is where the search for the price
    /// begins.
    pub fn solve(&self, price: f64) -> Answer {
        let (price, bound) = self.best_price(price);
        let in_groups = || {
            self.groups
                .iter()
                .flat_map(|(group, _)| group.items.iter().flat_map(|&item| &self.items[item]))
        };
        let largest = in_groups().map(|candidate| candidate.bytes).max().unwrap_or(0);
        let mut allowance = FIRST_ALLOWANCE * price * largest as f64;
        loop {
            let rounding = ROUNDING * (bound.abs() + price * self.budget.min(1 << 53) as f64);
            let settled: Vec<Settled> = self
                .groups
                .iter()
                .map(|(_, tracked)| tracked.settle(price, allowance + rounding))
                .collect();
            let (picks, is_best) = self.solve_settled(&settled);
            let complete = settled.iter().all(|settled| settled.complete);
            let gap = totals(self.items, &picks).1 - bound;
            if gap <= allowance + rounding || !(is_best && complete) {
                return Answer { picks, bound, price, exact: is_best && complete };
            }
            allowance = gap;
        }
    }

    /// The price at which the bound is highest, and the bound.
    fn best_price(&self, first: f64) -> (f64, f64) {
        let (bytes, free) = self.least(0.0);
        if bytes <= self.budget {
            return (0.0, free);
        }
        let (mut low, mut high) = (0.0, if first > 0.0 { first } else { 1.0 });
        let mut best = (0.0, free);
        let mut halvings = 0;
        while halvings < HALVINGS && high.is_finite() {
            // A price high enough is looked for by doubling.
            let price = if halvings == 0 { high } else { 0.5 * low + 0.5 * high };
            let (bytes, least) = self.least(price);
            let bound = least - price * self.budget as f64;
            if bound > best.1 {
                best = (price, bound);
            }
            match bytes.cmp(&self.budget) {
                std::cmp::Ordering::Equal => return (price, bound),
                std::cmp::Ordering::Less => (high, halvings) = (price, halvings + 1),
                std::cmp::Ordering::Greater if halvings == 0 => (low, high) = (price, 2.0 * price),
                std::cmp::Ordering::Greater => (low, halvings) = (price, halvings + 1),
            }
        }
        best
    }

    /// Bytes and sum of the picks with the least cost at a price for a byte.
    fn least(&self, price: f64) -> (u64, f64) {
        let (mut bytes, mut sum) = (0, 0.0);
        for (_, tracked) in &self.groups {
            let least = tracked.least(|candidate| candidate.cost + price * candidate.bytes as f64);
            (bytes, sum) = (bytes + least.bytes, sum + least.weight);
        }
        for (_, class) in &self.free {
            let priced =
                class.iter().map(|point| (point.cost + price * point.bytes as f64, point.bytes));
            let (weight, own) =
                priced.min_by(|a, b| a.0.total_cmp(&b.0)).expect("classes have points");
            (bytes, sum) = (bytes + own, sum + weight);
        }
        (bytes, sum)
    }

    fn solve_settled(&self, settled: &[Settled]) -> (Vec<usize>, bool) {
        let classes = settled
            .iter()
            .map(|settled| &settled.class)
            .chain(self.free.iter().map(|(_, class)| *class));
        let found = search(&classes.cloned().collect::<Vec<Class>>(), self.budget);
        let (in_groups, free) = found.points.split_at(settled.len());
        let mut picks = vec![0; self.items.len()];
        for (((group, _), settled), &point) in self.groups.iter().zip(settled).zip(in_groups) {
            group
                .items
                .iter()
                .zip(settled.picks(point))
                .for_each(|(&item, pick)| picks[item] = pick);
        }
        for ((item, class), &point) in self.free.iter().zip(free) {
            picks[*item] = class[point].origin as usize;
        }
        (picks, found.exact)
    }
}
