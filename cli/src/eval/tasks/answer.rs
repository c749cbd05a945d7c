//! What a model answered to an item, and whether it is right by each of the task's two metrics.

use serde::Serialize;

/// An answer.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// In the order of [`Task::metrics`](super::task::Task::metrics).
    pub right: [bool; 2],
    /// Whether the prompt's beginning was left out because not all of it fits the context.
    pub truncated: bool,
    #[serde(flatten)]
    pub given: Given,
}

/// The answer itself.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Given {
    Choice {
        /// Indices from 0: the likeliest, and the likeliest for each byte.
        chosen: [usize; 2],
        gold: usize,
        /// Of each choice.
        log_likelihoods: Vec<f64>,
    },
    Text {
        /// The strict and the flexible answer.
        found: [Option<String>; 2],
        gold: String,
        text: String,
    },
}

impl Answer {
    /// Of a question whose choices have these log-likelihoods and bytes.
    pub fn chosen(
        log_likelihoods: Vec<f64>,
        bytes: &[usize],
        gold: usize,
        truncated: bool,
    ) -> Self {
        let for_each_byte: Vec<f64> =
            log_likelihoods.iter().zip(bytes).map(|(nats, &bytes)| nats / bytes as f64).collect();
        let chosen = [first_largest(&log_likelihoods), first_largest(&for_each_byte)];
        let given = Given::Choice { chosen, gold, log_likelihoods };
        Self { right: chosen.map(|chosen| chosen == gold), truncated, given }
    }
}

fn first_largest(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, index| if values[index] > values[best] { index } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_decides_otherwise() {
        // -4 nats are more than -6, but -6 over 12 bytes are more than -4 over 4.
        let answer = Answer::chosen(vec![-9.0, -4.0, -6.0], &[3, 4, 12], 2, false);
        assert!(matches!(answer.given, Given::Choice { chosen: [1, 2], .. }), "{answer:?}");
        assert_eq!(answer.right, [false, true]);
        let tie = Answer::chosen(vec![-2.0, -2.0], &[1, 1], 0, false);
        assert_eq!(tie.right, [true, true]);
    }
}
