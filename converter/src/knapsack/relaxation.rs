//! The relaxed knapsack: a price for a byte, a lower bound from it, and the greedy answer that is
//! at most one step away.
//!
//! Each class is walked along its convex hull, steps with the largest saving a byte first. The step
//! that does not fit sets the price; without it the relaxed optimum is reached, and `cost - price *
//! unused bytes` is below every answer (Sinha and Zoltners, The multiple-choice knapsack problem,
//! 1979).

use super::candidate::Candidate;
use super::frontier::hull;

/// The answer to the relaxed problem.
#[derive(Clone, Debug)]
pub struct Relaxation {
    /// The point of each class before the step that did not fit.
    pub base: Vec<usize>,
    /// Cost saved by a byte at that step; 0 where everything fits, and then `base` is the answer.
    pub price: f64,
    /// The base, and all later steps that still fit.
    pub greedy: Vec<usize>,
}

struct Step {
    class: usize,
    from: usize,
    to: usize,
    bytes: u64,
    saved: f64,
}

/// Relaxes the choice of one point for each class within `budget` bytes, which the smallest points
/// must fit.
pub fn relax(classes: &[Vec<Candidate>], budget: u64) -> Relaxation {
    let mut steps: Vec<Step> =
        classes.iter().enumerate().flat_map(|(class, points)| steps(class, points)).collect();
    // The sort is stable: steps of one class stay in their order.
    steps.sort_by(|a, b| b.saved.total_cmp(&a.saved));
    let mut greedy = vec![0; classes.len()];
    let smallest: u64 = classes.iter().map(|points| points[0].bytes).sum();
    let mut left = budget.checked_sub(smallest).expect("the smallest points fit the budget");
    let mut broken: Option<(Vec<usize>, f64)> = None;
    for step in steps {
        if step.bytes <= left && greedy[step.class] == step.from {
            left -= step.bytes;
            greedy[step.class] = step.to;
        } else if broken.is_none() {
            broken = Some((greedy.clone(), step.saved));
        }
    }
    let (base, price) = broken.unwrap_or_else(|| (greedy.clone(), 0.0));
    Relaxation { base, price, greedy }
}

fn steps(class: usize, points: &[Candidate]) -> Vec<Step> {
    let corners = hull(points);
    let step = |pair: &[usize]| {
        let (from, to) = (pair[0], pair[1]);
        let bytes = points[to].bytes - points[from].bytes;
        Step { class, from, to, bytes, saved: (points[from].cost - points[to].cost) / bytes as f64 }
    };
    corners.windows(2).map(step).collect()
}
