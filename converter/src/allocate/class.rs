//! Classes: sets of points of which exactly one is taken, without the points that another one
//! beats.

use super::problem::Candidate;

/// Bytes and cost of one way to settle a class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Bytes.
    pub bytes: u64,
    /// Cost.
    pub cost: f64,
    /// What the point stands for, as its maker counts.
    pub origin: u32,
}

/// Points with growing bytes and falling costs, so that none beats another. Never empty.
pub type Class = Vec<Point>;

/// The candidates of one item that no other one beats; `origin` is the candidate's index.
pub fn of_item(candidates: &[Candidate]) -> Class {
    let points = (0..).zip(candidates).map(|(origin, own)| Point {
        bytes: own.bytes,
        cost: own.cost,
        origin,
    });
    undominated(points.collect())
}

/// Sorts, and drops what costs no less than something that is no larger. Of equals, the first
/// stays.
pub fn undominated(mut points: Vec<Point>) -> Class {
    points.sort_by(|a, b| {
        a.bytes.cmp(&b.bytes).then(a.cost.total_cmp(&b.cost)).then(a.origin.cmp(&b.origin))
    });
    let mut least = f64::INFINITY;
    points.retain(|point| {
        let stays = point.cost < least;
        least = least.min(point.cost);
        stays
    });
    points
}

/// Indices of the points on the lower convex hull: from one to the next, the cost saved by a byte
/// falls.
pub fn hull(class: &[Point]) -> Vec<usize> {
    let saved = |from: usize, to: usize| {
        (class[from].cost - class[to].cost) / (class[to].bytes - class[from].bytes) as f64
    };
    let mut corners: Vec<usize> = Vec::new();
    for index in 0..class.len() {
        while let [.., before, last] = corners[..] {
            if saved(before, last) > saved(last, index) {
                break;
            }
            corners.pop();
        }
        corners.push(index);
    }
    corners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beaten_points_and_inner_points_go() {
        let candidates = [(8, 0.0), (4, 1.0), (2, 9.0), (3, 8.5), (4, 1.0), (5, 2.0)];
        let candidates = candidates.map(|(bytes, cost)| Candidate { bits: 0, bytes, cost });
        let class = of_item(&candidates);
        let origins: Vec<u32> = class.iter().map(|point| point.origin).collect();
        assert_eq!(origins, [2, 3, 1, 0]);
        // The gains of 0.5 and 7.5 a byte are out of order: the second point lies above the hull.
        assert_eq!(hull(&class), [0, 2, 3]);
    }
}
