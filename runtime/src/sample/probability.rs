//! Log-probabilities of tokens: what the model says, before any filter.

/// A token and its log-probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogProbability {
    /// The token.
    pub token: u32,
    /// Natural logarithm of its probability.
    pub log_probability: f32,
}

/// The log-probabilities of all tokens: [`Session::log_probabilities`](crate::Session).
#[derive(Clone, Copy, Debug)]
pub struct LogProbabilities<'a> {
    logits: &'a [f32],
    log_sum: f64,
}

impl<'a> LogProbabilities<'a> {
    /// Of logits `[vocabulary]`.
    ///
    /// ```
    /// use hardtack::sample::LogProbabilities;
    ///
    /// let all = LogProbabilities::of_logits(&[0.0, 0.0]);
    /// assert!((all.of(1).unwrap() - 0.5f32.ln()).abs() < 1e-6);
    /// assert_eq!(all.top(1)[0].token, 0);
    /// ```
    pub fn of_logits(logits: &'a [f32]) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let largest = f64::from(largest);
        let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
        Self { logits, log_sum: largest + sum.ln() }
    }

    /// Of one token, if the model has it.
    pub fn of(&self, token: u32) -> Option<f32> {
        self.logits.get(token as usize).map(|&logit| (f64::from(logit) - self.log_sum) as f32)
    }

    /// Of the likeliest tokens: the likeliest first, of equals the lower id first.
    pub fn top(&self, count: usize) -> Vec<LogProbability> {
        let mut top: Vec<(u32, f32)> = Vec::new();
        for (token, &logit) in (0..).zip(self.logits) {
            if top.len() == count && top.last().is_none_or(|last| last.1 >= logit) {
                continue;
            }
            let place = top.partition_point(|other| other.1 >= logit);
            top.insert(place, (token, logit));
            top.truncate(count);
        }
        let of = |logit: f32| (f64::from(logit) - self.log_sum) as f32;
        let listed = top.into_iter();
        listed.map(|(token, logit)| LogProbability { token, log_probability: of(logit) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_and_the_likeliest_come_first() {
        let all = LogProbabilities::of_logits(&[1.0, 3.0, -2.0, 3.0, 100.0, 99.0]);
        let sum: f32 = (0..6).filter_map(|token| all.of(token)).map(f32::exp).sum();
        assert!((sum - 1.0).abs() < 1e-5 && all.of(6).is_none());
        let tokens = |count| all.top(count).iter().map(|top| top.token).collect::<Vec<_>>();
        assert_eq!(tokens(4), [4, 5, 1, 3]);
        assert!(tokens(0).is_empty());
        assert_eq!(tokens(9).len(), 6);
        assert_eq!(all.top(2)[1].log_probability, all.of(5).unwrap());
    }
}
