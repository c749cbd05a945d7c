//! A group of items with floors as one class: the ways to settle the group that meet its floors and
//! may be part of the answer.
//!
//! Item after item, states of (how far each floor is met, bytes, cost). At a price for a byte, the
//! least that a state can still come to is known exactly, by the same recursion backwards; states
//! that come to more than an allowance above the best are left out.

use super::class::{Class, Point, undominated};
use super::error::AllocateError;
use super::problem::{Candidate, Group};

/// Most combinations of met floors that are kept apart.
const COMBINATIONS_MAX: usize = 4096;
/// Most points of a group; beyond it they are thinned out, and the answer is no longer known to be
/// exact.
const POINTS_MAX: usize = 100_000;
/// The state before the first item.
const ROOT: u32 = u32::MAX;

/// A group in the form that it is worked on. A combination of met floors is a number with one digit
/// for each floor, each up to the floor's count; the last one meets all.
#[derive(Clone, Debug)]
pub struct Tracked {
    combinations: usize,
    /// For each kind of candidate, the combination after it, by the combination before it.
    after: Vec<Vec<usize>>,
    /// For each item its candidates, with their kind.
    items: Vec<Vec<(Candidate, usize)>>,
}

/// The least sum of weights, and the bytes of the picks that have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Least {
    /// The sum; infinite where the floors cannot be met.
    pub weight: f64,
    /// Bytes.
    pub bytes: u64,
}

/// A group settled in every way within the allowance, and in the smallest one.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The points, with `origin` for [`Settled::picks`].
    pub class: Class,
    /// Whether no point within the allowance was left out.
    pub complete: bool,
    /// Picks that led to a state: the state before, and the candidate.
    picks: Vec<(u32, u32)>,
}

impl Tracked {
    /// Prepares a group.
    ///
    /// # Errors
    /// Its floors cannot be met, or cannot be kept track of.
    pub fn new(
        index: usize,
        group: &Group,
        items: &[Vec<Candidate>],
    ) -> Result<Self, AllocateError> {
        let digits = group.floors.iter().map(|floor| floor.count.saturating_add(1));
        let combinations = digits.fold(1usize, usize::saturating_mul);
        if combinations > COMBINATIONS_MAX {
            return Err(AllocateError::Floors {
                group: index,
                found: combinations,
                most: COMBINATIONS_MAX,
            });
        }
        let own = || group.items.iter().map(|&item| &items[item]);
        let mut kinds: Vec<u32> = own().flatten().map(|candidate| candidate.bits).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let kind = |bits: u32| kinds.binary_search(&bits).expect("every width is listed");
        let with_kind = |candidates: &Vec<Candidate>| {
            candidates.iter().map(|one| (*one, kind(one.bits))).collect()
        };
        let after = |&bits: &u32| {
            (0..combinations).map(|met| combination_after(group, met, bits)).collect()
        };
        let tracked = Self {
            combinations,
            after: kinds.iter().map(after).collect(),
            items: own().map(with_kind).collect(),
        };
        if tracked.least(|_| 0.0).weight.is_finite() {
            Ok(tracked)
        } else {
            Err(AllocateError::Unreachable { group: index })
        }
    }

    /// The least sum of a weight of candidates that meets the floors.
    pub fn least(&self, weight: impl Fn(&Candidate) -> f64) -> Least {
        self.least_from(weight)[0][0]
    }

    /// The same from before each item on, by the combination met so far: `[items +
    /// 1][combinations]`.
    fn least_from(&self, weight: impl Fn(&Candidate) -> f64) -> Vec<Vec<Least>> {
        let unmet = Least { weight: f64::INFINITY, bytes: 0 };
        let mut table = vec![vec![unmet; self.combinations]; self.items.len() + 1];
        table[self.items.len()][self.combinations - 1].weight = 0.0;
        for (item, candidates) in self.items.iter().enumerate().rev() {
            for (candidate, kind) in candidates {
                let own = weight(candidate);
                for met in 0..self.combinations {
                    let rest = table[item + 1][self.after[*kind][met]];
                    let least = &mut table[item][met];
                    if own + rest.weight < least.weight {
                        *least = Least {
                            weight: own + rest.weight,
                            bytes: candidate.bytes + rest.bytes,
                        };
                    }
                }
            }
        }
        table
    }

    /// Every way to settle the group whose cost plus `price` times bytes is at most `allowance`
    /// above the least, without those that another one beats; and the smallest way, so that
    /// whatever budget works does.
    pub fn settle(&self, price: f64, allowance: f64) -> Settled {
        let priced = |candidate: &Candidate| candidate.cost + price * candidate.bytes as f64;
        let least = self.least_from(priced);
        let most = least[0][0].weight + allowance;
        let mut settled = Settled { class: Vec::new(), complete: true, picks: Vec::new() };
        let mut lists: Vec<Class> = vec![Vec::new(); self.combinations];
        lists[0].push(Point { bytes: 0, cost: 0.0, origin: ROOT });
        for (candidates, least) in self.items.iter().zip(&least[1..]) {
            let mut moved: Vec<Vec<(Point, u32)>> = vec![Vec::new(); self.combinations];
            for (met, points) in lists.iter().enumerate() {
                for (pick, (candidate, kind)) in (0..).zip(candidates) {
                    let after = self.after[*kind][met];
                    for point in points {
                        let (bytes, cost) =
                            (point.bytes + candidate.bytes, point.cost + candidate.cost);
                        if cost + price * bytes as f64 + least[after].weight <= most {
                            moved[after].push((Point { bytes, cost, origin: point.origin }, pick));
                        }
                    }
                }
            }
            for (list, moved) in lists.iter_mut().zip(&mut moved) {
                settled.keep(moved, list);
            }
        }
        let mut points = lists.pop().expect("there is at least one combination");
        points.push(self.smallest(&mut settled.picks));
        settled.class = undominated(points);
        settled
    }

    /// The smallest way to settle the group, its picks written down.
    fn smallest(&self, picks: &mut Vec<(u32, u32)>) -> Point {
        let least = self.least_from(|candidate| candidate.bytes as f64);
        let (mut met, mut point) = (0, Point { bytes: 0, cost: 0.0, origin: ROOT });
        for (candidates, rest) in self.items.iter().zip(&least[1..]) {
            let weight = |(candidate, kind): &(Candidate, usize)| {
                candidate.bytes as f64 + rest[self.after[*kind][met]].weight
            };
            let best = (0..candidates.len())
                .min_by(|&a, &b| weight(&candidates[a]).total_cmp(&weight(&candidates[b])));
            let pick = best.expect("items have candidates");
            let (candidate, kind) = candidates[pick];
            picks.push((point.origin, pick as u32));
            let origin = picks.len() as u32 - 1;
            point = Point {
                bytes: point.bytes + candidate.bytes,
                cost: point.cost + candidate.cost,
                origin,
            };
            met = self.after[kind][met];
        }
        point
    }
}

/// The combination of met floors after one more item with so many bits.
fn combination_after(group: &Group, met: usize, bits: u32) -> usize {
    let (mut rest, mut place, mut result) = (met, 1, 0);
    for floor in &group.floors {
        let digit = rest % (floor.count + 1);
        let counted = digit + usize::from(bits >= floor.bits);
        result += counted.min(floor.count) * place;
        rest /= floor.count + 1;
        place *= floor.count + 1;
    }
    result
}

impl Settled {
    /// The candidate of each item of the group at a point, in the group's order.
    pub fn picks(&self, point: usize) -> Vec<usize> {
        let mut picks = Vec::new();
        let mut at = self.class[point].origin;
        while at != ROOT {
            let (before, candidate) = self.picks[at as usize];
            picks.push(candidate as usize);
            at = before;
        }
        picks.reverse();
        picks
    }

    /// The points that no other one beats, each with its pick written down.
    fn keep(&mut self, moved: &mut [(Point, u32)], list: &mut Class) {
        moved.sort_by(|(a, _), (b, _)| a.bytes.cmp(&b.bytes).then(a.cost.total_cmp(&b.cost)));
        list.clear();
        let mut least = f64::INFINITY;
        let mut unbeaten: Vec<(Point, u32)> = Vec::new();
        for &(point, pick) in &*moved {
            if point.cost < least {
                least = point.cost;
                unbeaten.push((point, pick));
            }
        }
        let step = unbeaten.len().div_ceil(POINTS_MAX).max(1);
        self.complete &= step == 1;
        for (point, pick) in unbeaten.into_iter().step_by(step) {
            self.picks.push((point.origin, pick));
            list.push(Point { origin: self.picks.len() as u32 - 1, ..point });
        }
    }
}
