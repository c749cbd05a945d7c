//! A group of items with floors as one class: every way to settle the group that meets its floors and that none beats.
//!
//! Item after item, states of (how far each floor is met, bytes, cost). Items of one group usually have the same sizes, so that
//! few different sums of bytes are possible and the list of points is short.

use super::class::{Class, Point};
use super::error::AllocateError;
use super::problem::{Candidate, Group};

/// Most combinations of met floors that are kept apart.
const COMBINATIONS_MAX: usize = 4096;
/// Most points of a group; beyond it they are thinned out, and the answer is no longer known to be exact.
const POINTS_MAX: usize = 100_000;
/// The state before the first item.
const ROOT: u32 = u32::MAX;

/// A group settled in every way that counts.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The points, with `origin` for [`Settled::picks`].
    pub class: Class,
    /// Whether no point was thinned out.
    pub complete: bool,
    /// Picks that led to a state: the state before, and the candidate.
    picks: Vec<(u32, u32)>,
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
}

/// Settles a group, with costs as `cost` gives them.
///
/// # Errors
/// Floors cannot be met, or cannot be kept track of.
pub fn settle(
    index: usize,
    group: &Group,
    items: &[Vec<Candidate>],
    cost: impl Fn(&Candidate) -> f64,
) -> Result<Settled, AllocateError> {
    let combinations = group.floors.iter().fold(1usize, |all, floor| all.saturating_mul(floor.count.saturating_add(1)));
    if combinations > COMBINATIONS_MAX {
        return Err(AllocateError::Floors { group: index, found: combinations, most: COMBINATIONS_MAX });
    }
    let mut settled = Settled { class: Vec::new(), complete: true, picks: Vec::new() };
    let mut lists: Vec<Class> = vec![Vec::new(); combinations];
    lists[0].push(Point { bytes: 0, cost: 0.0, origin: ROOT });
    for &item in &group.items {
        let mut moved: Vec<Vec<(Point, u32)>> = vec![Vec::new(); combinations];
        for (met, points) in lists.iter().enumerate() {
            for (pick, candidate) in (0..).zip(&items[item]) {
                let next = &mut moved[count_in(group, met, candidate.bits)];
                let (bytes, cost) = (candidate.bytes, cost(candidate));
                next.extend(
                    points.iter().map(|own| {
                        (Point { bytes: own.bytes + bytes, cost: own.cost + cost, origin: own.origin }, pick)
                    }),
                );
            }
        }
        for (list, moved) in lists.iter_mut().zip(&mut moved) {
            settled.keep(moved, list);
        }
    }
    // The last combination is the one in which every floor is met.
    settled.class = lists.pop().expect("there is at least one combination");
    if settled.class.is_empty() {
        return Err(AllocateError::Unreachable { group: index });
    }
    Ok(settled)
}

/// The combination of met floors after one more item with so many bits. A combination is a number with one digit for each
/// floor, each up to the floor's count.
fn count_in(group: &Group, met: usize, bits: u32) -> usize {
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
        // The smallest point always stays: it decides what budget works.
        for (point, pick) in unbeaten.into_iter().step_by(step) {
            self.picks.push((point.origin, pick));
            list.push(Point { origin: self.picks.len() as u32 - 1, ..point });
        }
    }
}
