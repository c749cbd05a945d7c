//! AdamW (arXiv 1711.05101) on plain numbers.

/// Adam's decay of the mean and of the mean square, and what keeps its ratio finite.
const BETA: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-12;

/// Numbers that learn, with Adam's means of their gradients.
#[derive(Clone, Debug)]
pub struct Learner {
    /// The numbers.
    pub values: Vec<f32>,
    mean: Vec<f32>,
    square: Vec<f32>,
    rate: f32,
}

impl Learner {
    /// A step is as long as `rate` where Adam's ratio is one.
    pub fn new(values: Vec<f32>, rate: f32) -> Self {
        Self { mean: vec![0.0; values.len()], square: vec![0.0; values.len()], values, rate }
    }

    /// One step; `step` counts from 1, `share` of the rate is used.
    pub fn step(&mut self, gradient: &[f32], step: i32, share: f32, weight_decay: f32) {
        let corrections = BETA.map(|beta| 1.0 - beta.powi(step));
        let rate = self.rate * share;
        for (index, &gradient) in gradient.iter().enumerate() {
            let (mean, square) = (&mut self.mean[index], &mut self.square[index]);
            *mean += (1.0 - BETA[0]) * (gradient - *mean);
            *square += (1.0 - BETA[1]) * (gradient * gradient - *square);
            let ratio = (*mean / corrections[0]) / ((*square / corrections[1]).sqrt() + EPSILON);
            self.values[index] -= rate * (ratio + weight_decay * self.values[index]);
        }
    }
}

/// The root mean square.
pub fn root_mean_square(values: &[f32]) -> f32 {
    (values.iter().map(|value| value * value).sum::<f32>() / values.len().max(1) as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adam_finds_the_bottom_of_a_bowl() {
        let mut learner = Learner::new(vec![3.0, -2.0], 0.05);
        for step in 1..=2000 {
            let gradient = [learner.values[0] - 1.0, 10.0 * (learner.values[1] - 0.5)];
            learner.step(&gradient, step, 1.0 - step as f32 / 2001.0, 0.0);
        }
        assert!(
            (learner.values[0] - 1.0).abs() < 1e-2 && (learner.values[1] - 0.5).abs() < 1e-2,
            "{:?}",
            learner.values
        );
    }

    #[test]
    fn the_first_step_is_as_long_as_the_rate() {
        let values = vec![2.0, -2.0];
        let rate = 0.01 * root_mean_square(&values);
        let mut learner = Learner::new(values, rate);
        learner.step(&[1e-6, -3.0], 1, 1.0, 0.0);
        for (found, expected) in learner.values.iter().zip([1.98, -1.98]) {
            assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
        }
    }
}
