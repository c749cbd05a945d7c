//! A mean and how sure it is.

/// Sums of a sample.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean {
    sum: f64,
    squares: f64,
    count: usize,
}

impl Mean {
    /// Adds one number.
    pub fn add(&mut self, value: f64) {
        self.sum += value;
        self.squares += value * value;
        self.count += 1;
    }

    /// Adds all numbers of another sample.
    pub fn merge(&mut self, other: Self) {
        self.sum += other.sum;
        self.squares += other.squares;
        self.count += other.count;
    }

    /// How many numbers.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Their mean.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// The standard error of the mean, as if the numbers were independent.
    pub fn standard_error(&self) -> f64 {
        let count = self.count as f64;
        let variance = (self.squares / count - self.mean() * self.mean()).max(0.0);
        (variance / (count - 1.0).max(1.0)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_the_textbook_one() {
        let mut mean = Mean::default();
        [1.0, 2.0, 3.0, 6.0].into_iter().for_each(|value| mean.add(value));
        assert_eq!((mean.count(), mean.sum(), mean.mean()), (4, 12.0, 3.0));
        let mut halves = [Mean::default(); 2];
        [1.0, 2.0].into_iter().for_each(|value| halves[0].add(value));
        [3.0, 6.0].into_iter().for_each(|value| halves[1].add(value));
        halves[0].merge(halves[1]);
        assert_eq!((halves[0].count(), halves[0].standard_error()), (4, mean.standard_error()));
        // Sample variance 14/3 over 4 numbers.
        assert!((mean.standard_error() - (14.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
    }
}
