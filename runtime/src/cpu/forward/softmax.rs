//! Softmax in one pass over its terms (arXiv 2205.14135, algorithm 1): a running maximum and sum,
//! results rescaled when the maximum grows; and of several such passes over terms of their own, one
//! result.

use hardtack_kernels::KernelTable;
use hardtack_kernels::attention::Scores;
use hardtack_kernels::math::exp;

/// The softmax of one query so far.
#[derive(Clone, Copy)]
pub struct Running {
    pub maximum: f32,
    pub sum: f32,
}

impl Running {
    /// Of no terms.
    pub const NONE: Self = Self { maximum: f32::NEG_INFINITY, sum: 0.0 };

    /// Turns scores of the tokens `from..to` into weights, and what is summed already to the new
    /// maximum. Other tokens get no weight.
    pub fn weigh(
        &mut self,
        kernels: &KernelTable,
        scale: f32,
        scores: &mut Scores,
        (from, to): (usize, usize),
        out: &mut [f32],
    ) {
        scores[..from].fill(0.0);
        scores[to..].fill(0.0);
        let scores = &mut scores[from..to];
        if scores.is_empty() {
            return;
        }
        scores.iter_mut().for_each(|score| *score *= scale);
        let largest = (kernels.maximum)(scores);
        if largest > self.maximum {
            let shrink = exp(self.maximum - largest);
            out.iter_mut().for_each(|value| *value *= shrink);
            *self = Self { maximum: largest, sum: self.sum * shrink };
        }
        self.sum += (kernels.exp_sum)(scores, self.maximum);
    }

    /// Adds other terms and what they sum up to.
    pub fn add(&mut self, out: &mut [f32], other: Self, other_out: &[f32]) {
        if other.sum == 0.0 {
            return;
        }
        let maximum = self.maximum.max(other.maximum);
        let (own, others) = (exp(self.maximum - maximum), exp(other.maximum - maximum));
        out.iter_mut()
            .zip(other_out)
            .for_each(|(value, other)| *value = *value * own + other * others);
        *self = Self { maximum, sum: self.sum * own + other.sum * others };
    }

    /// Divides what is summed by the sum of its weights, and of that of a sink, which takes part
    /// and has no value.
    pub fn finish(self, out: &mut [f32], sink: Option<f32>) {
        let maximum = self.maximum.max(sink.unwrap_or(f32::NEG_INFINITY));
        let own = exp(self.maximum - maximum);
        let factor = own / (self.sum * own + sink.map_or(0.0, |logit| exp(logit - maximum)));
        out.iter_mut().for_each(|value| *value *= factor);
    }
}

impl From<[f32; 2]> for Running {
    fn from([maximum, sum]: [f32; 2]) -> Self {
        Self { maximum, sum }
    }
}

impl From<Running> for [f32; 2] {
    fn from(Running { maximum, sum }: Running) -> Self {
        [maximum, sum]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Terms in one pass, and in two that are added up, in either order.
    #[test]
    fn passes_add_up_to_one() {
        let kernels = &hardtack_kernels::scalar::TABLE;
        let scores: Scores = std::array::from_fn(|at| ((at * 29 % 64) as f32 - 40.0) * 0.3);
        let value = |at: usize| (at * 17 % 23) as f32 - 11.0;
        let pass = |from: usize, to: usize| {
            let (mut weights, mut out, mut state) = (scores, [0.0], Running::NONE);
            state.weigh(kernels, 0.5, &mut weights, (from, to), &mut out);
            out[0] +=
                weights.iter().enumerate().map(|(at, weight)| weight * value(at)).sum::<f32>();
            (state, out)
        };
        for sink in [None, Some(2.0)] {
            let (state, mut whole) = pass(0, 64);
            state.finish(&mut whole, sink);
            for cuts in
                [[(0, 5), (5, 64)], [(40, 64), (0, 40)], [(0, 64), (9, 9)], [(9, 9), (0, 64)]]
            {
                let (mut state, mut sum) = (Running::NONE, [0.0]);
                for (from, to) in cuts {
                    let (other, out) = pass(from, to);
                    state.add(&mut sum, other, &out);
                }
                state.finish(&mut sum, sink);
                let difference = (whole[0] - sum[0]).abs();
                assert!(
                    difference < 1e-5 * whole[0].abs().max(1.0),
                    "{cuts:?}: {sum:?} is not {whole:?}"
                );
            }
        }
        let (state, values) = pass(0, 64);
        let (mut with, mut without) = (values, values);
        state.finish(&mut without, None);
        // A sink as heavy as all others together.
        state.finish(&mut with, Some(state.maximum + state.sum.ln()));
        assert!(
            (without[0] - 2.0 * with[0]).abs() < 1e-4 * without[0].abs(),
            "{without:?} is not twice {with:?}"
        );
    }
}
