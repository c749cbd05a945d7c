//! The exact knapsack: dynamic programming over the few classes whose best points are in doubt.
//!
//! A class is an item's unbeaten candidates, its points; exactly one of them is taken. The search
//! starts from the relaxed answer ("base"). A state is a set of departures from it, with its
//! difference in bytes and in cost. Classes are taken up in the order of the price they want
//! departing, the cheapest first. The others stay at their base, so every state within the budget
//! is an answer. A state goes when another is no larger and no worse, or when even at the best
//! exchange rate of the classes to come it cannot beat the best answer. The search ends when no
//! state is left, usually after a few dozen classes (Pisinger, A minimal algorithm for the
//! multiple-choice knapsack problem, 1995). Bytes are never rounded.

use super::candidate::Candidate;
use super::relaxation::{Relaxation, relax};

/// States looked at before the search stops unfinished: about two seconds' worth.
const STATES_MAX: usize = 40_000_000;
/// Departures kept to tell the way back: 12 bytes each.
const DEPARTURES_MAX: usize = 20_000_000;
/// Relative slack for costs that are equal but for rounding.
const ROUNDING: f64 = 1e-12;
/// The state without departures.
const ROOT: u32 = u32::MAX;

/// The best points found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The point of each class.
    pub points: Vec<usize>,
    /// No answer costs less than this.
    pub bound: f64,
    /// Whether no answer costs less than these points.
    pub exact: bool,
}

#[derive(Clone, Copy, Debug)]
struct State {
    bytes: i64,
    cost: f64,
    departure: u32,
}

#[derive(Clone, Copy, Debug)]
struct Departure {
    before: u32,
    class: u32,
    point: u32,
}

/// What a class offers besides its base.
struct Offer {
    class: usize,
    /// Differences to the base: point, bytes, cost, and cost plus price times bytes, which is
    /// never negative.
    others: Vec<(u32, i64, f64, f64)>,
    /// Asked for a byte more and for a byte less, beyond the price; infinite where there is none.
    more: f64,
    less: f64,
}

/// Finds the points of least cost within `budget` bytes; of equal costs, those of fewer bytes. The
/// smallest points must fit.
pub fn search(classes: &[Vec<Candidate>], budget: u64) -> Found {
    let relaxation = relax(classes, budget);
    let Relaxation { base, price, greedy } = &relaxation;
    let sum = |points: &[usize]| {
        classes.iter().zip(points).map(|(class, &point)| class[point].bytes).sum::<u64>()
    };
    let cost_of = |points: &[usize]| {
        classes.iter().zip(points).map(|(class, &point)| class[point].cost).sum::<f64>()
    };
    let base_cost = cost_of(base);
    if *price == 0.0 {
        return Found { points: base.clone(), bound: base_cost, exact: true };
    }
    let offers = offers(classes, base, *price);
    // Only multiples of the common divisor can be used up.
    let unit = offers
        .iter()
        .flat_map(|offer| &offer.others)
        .fold(0, |unit, other| divisor(unit, other.1.unsigned_abs()));
    let unused = (budget - sum(base)) as i64;
    let unused = unused - unused % unit as i64;
    let delta = |points: &[usize]| {
        let pairs = classes.iter().zip(points.iter().zip(base));
        pairs.map(|(class, (&point, &base))| class[point].cost - class[base].cost).sum::<f64>()
    };
    let largest = offers
        .iter()
        .flat_map(|offer| &offer.others)
        .map(|other| other.1.unsigned_abs())
        .max()
        .unwrap_or(0);
    let mut core = Core {
        price: *price,
        unused,
        unit: unit as i64,
        rounding: ROUNDING * price * largest as f64,
        best: State {
            bytes: sum(greedy) as i64 - sum(base) as i64,
            cost: delta(greedy),
            departure: ROOT,
        },
        best_is_greedy: true,
        departures: Vec::new(),
        looked_at: 0,
    };
    let exact = core.run(&offers);
    let mut points = if core.best_is_greedy { greedy } else { base }.clone();
    let mut at = core.best.departure;
    while at != ROOT {
        let Departure { before, class, point } = core.departures[at as usize];
        points[class as usize] = point as usize;
        at = before;
    }
    Found { points, bound: base_cost - price * unused as f64, exact }
}

/// Offers of all classes that have one, those that ask the least first.
fn offers(classes: &[Vec<Candidate>], base: &[usize], price: f64) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    for (class, (points, &own)) in classes.iter().zip(base).enumerate() {
        let mut offer =
            Offer { class, others: Vec::new(), more: f64::INFINITY, less: f64::INFINITY };
        for (index, point) in (0..).zip(points).filter(|(index, _)| *index as usize != own) {
            let bytes = point.bytes as i64 - points[own].bytes as i64;
            let cost = point.cost - points[own].cost;
            let asked = (cost + price * bytes as f64).max(0.0);
            let rate = asked / bytes.unsigned_abs() as f64;
            let side = if bytes > 0 { &mut offer.more } else { &mut offer.less };
            *side = side.min(rate);
            offer.others.push((index, bytes, cost, asked));
        }
        if !offer.others.is_empty() {
            offers.push(offer);
        }
    }
    offers.sort_by(|a, b| {
        a.more.min(a.less).total_cmp(&b.more.min(b.less)).then(a.more.total_cmp(&b.more))
    });
    offers
}

fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

struct Core {
    price: f64,
    /// Bytes that the base leaves.
    unused: i64,
    /// All differences in bytes are multiples of it.
    unit: i64,
    /// Differences in cost below this are taken for rounding.
    rounding: f64,
    /// The best answer so far.
    best: State,
    best_is_greedy: bool,
    departures: Vec<Departure>,
    looked_at: usize,
}

impl Core {
    /// Whether the search came to its end.
    fn run(&mut self, offers: &[Offer]) -> bool {
        let mut rates = vec![(f64::INFINITY, f64::INFINITY); offers.len() + 1];
        for (index, offer) in offers.iter().enumerate().rev() {
            let (more, less) = rates[index + 1];
            rates[index] = (offer.more.min(more), offer.less.min(less));
        }
        let root = State { bytes: 0, cost: 0.0, departure: ROOT };
        for offer in offers {
            for &(point, bytes, cost, _) in &offer.others {
                self.try_answer(State { bytes, cost, ..root }, offer.class as u32, point);
            }
        }
        let mut states = vec![root];
        let mut next: Vec<(State, u32)> = Vec::new();
        for (offer, &rates) in offers.iter().zip(&rates[1..]) {
            // Departures that ask more than the best answer lies above the bound cannot be part of
            // a better one.
            let gap = self.best.cost + self.price * self.unused as f64;
            if gap <= self.rounding {
                return true;
            }
            let most_asked = gap + self.rounding;
            next.clear();
            for &(point, bytes, cost, _) in
                offer.others.iter().filter(|other| other.3 <= most_asked)
            {
                for state in &states {
                    let moved =
                        State { bytes: state.bytes + bytes, cost: state.cost + cost, ..*state };
                    self.try_answer(moved, offer.class as u32, point);
                    next.push((moved, point));
                }
            }
            if next.is_empty() {
                continue;
            }
            next.extend(states.iter().map(|&state| (state, ROOT)));
            self.looked_at += next.len();
            next.retain(|(state, _)| self.is_open(state, rates));
            if self.looked_at > STATES_MAX || self.departures.len() + next.len() > DEPARTURES_MAX {
                return false;
            }
            self.keep_unbeaten(&mut next, offer.class as u32, &mut states);
            if states.is_empty() {
                return true;
            }
        }
        true
    }

    fn try_answer(&mut self, state: State, class: u32, point: u32) {
        let State { bytes, cost, departure: before } = state;
        let better = cost < self.best.cost || (cost == self.best.cost && bytes < self.best.bytes);
        if bytes <= self.unused && better {
            let departure = self.departures.len() as u32;
            self.departures.push(Departure { before, class, point });
            (self.best, self.best_is_greedy) = (State { bytes, cost, departure }, false);
        }
    }

    /// Whether a state may still lead to less cost, or to the same cost with fewer bytes.
    fn is_open(&self, state: &State, (more, less): (f64, f64)) -> bool {
        let least_cost = |target: i64| {
            let bytes = (target - state.bytes) as f64;
            let saved_by_byte =
                if bytes >= 0.0 { (self.price - more).max(0.0) } else { self.price + less };
            state.cost - saved_by_byte * bytes
        };
        least_cost(self.unused) < self.best.cost
            || least_cost(self.best.bytes - self.unit) <= self.best.cost + self.rounding
    }

    /// The states that no other one beats, with their departures written down.
    fn keep_unbeaten(&mut self, next: &mut [(State, u32)], class: u32, states: &mut Vec<State>) {
        next.sort_by(|(a, _), (b, _)| a.bytes.cmp(&b.bytes).then(a.cost.total_cmp(&b.cost)));
        states.clear();
        let mut least = f64::INFINITY;
        for &mut (mut state, point) in next {
            if state.cost < least {
                least = state.cost;
                if point != ROOT {
                    self.departures.push(Departure { before: state.departure, class, point });
                    state.departure = self.departures.len() as u32 - 1;
                }
                states.push(state);
            }
        }
    }
}
