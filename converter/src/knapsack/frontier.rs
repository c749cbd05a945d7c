//! The candidates worth a look: those that no other one beats, and of them those on the convex
//! hull.

use super::candidate::Candidate;

/// Indices of the candidates that no other one beats, with growing bytes and falling costs. Of
/// equals the first stays.
pub fn unbeaten(candidates: &[Candidate]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    // The sort is stable: equals stay in their order.
    order.sort_by(|&a, &b| {
        let (a, b) = (candidates[a], candidates[b]);
        a.bytes.cmp(&b.bytes).then(a.cost.total_cmp(&b.cost))
    });
    let mut least = f64::INFINITY;
    order.retain(|&index| {
        let cost = candidates[index].cost;
        let stays = cost < least;
        least = least.min(cost);
        stays
    });
    order
}

/// Of unbeaten candidates in their order, indices of those on the lower convex hull: from one to
/// the next, the cost saved by a byte falls.
pub fn hull(candidates: &[Candidate]) -> Vec<usize> {
    let saved = |from: usize, to: usize| {
        let (from, to) = (candidates[from], candidates[to]);
        (from.cost - to.cost) / (to.bytes - from.bytes) as f64
    };
    let mut corners: Vec<usize> = Vec::new();
    for index in 0..candidates.len() {
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
    fn beaten_candidates_and_inner_ones_go() {
        let candidates = [(8, 0.0), (4, 1.0), (2, 9.0), (3, 8.5), (4, 1.0), (5, 2.0)];
        let candidates = candidates.map(|(bytes, cost)| Candidate { bits: 0, bytes, cost });
        let indices = unbeaten(&candidates);
        assert_eq!(indices, [2, 3, 1, 0]);
        // The gains of 0.5 and 7.5 a byte are out of order: the second one lies above the hull.
        let frontier: Vec<Candidate> = indices.iter().map(|&index| candidates[index]).collect();
        assert_eq!(hull(&frontier), [0, 2, 3]);
    }
}
