//! Logits as probabilities, in double precision.

/// `ln softmax(logits)[token]`
pub fn log_likelihood(logits: &[f32], token: u32) -> f64 {
    f64::from(logits[token as usize]) - log_sum(logits)
}

/// `ln sum(e^logits)`
pub fn log_sum(logits: &[f32]) -> f64 {
    let largest = f64::from(largest(logits).1);
    largest + logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum::<f64>().ln()
}

/// The first of the largest logits, and its token.
pub fn largest(logits: &[f32]) -> (usize, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (token, logit);
        }
    }
    best
}

/// Kullback-Leibler divergence of `model` from `reference` in nats: `sum(p * (ln p - ln q))`, `p`
/// the reference's probabilities.
pub fn divergence(reference: &[f32], model: &[f32]) -> f64 {
    let (reference_sum, model_sum) = (log_sum(reference), log_sum(model));
    let terms = reference.iter().zip(model).map(|(&reference, &model)| {
        let (p, q) = (f64::from(reference) - reference_sum, f64::from(model) - model_sum);
        p.exp() * (p - q)
    });
    let sum = terms.sum::<f64>();
    // Rounding can leave a tiny negative number where both are the same. NaN stays: `max` would
    // hide it.
    if sum < 0.0 { 0.0 } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_stays_none() {
        let broken = [0.0, f32::NAN];
        assert!(divergence(&[0.0, 1.0], &broken).is_nan() && log_likelihood(&broken, 0).is_nan());
    }

    #[test]
    fn known_distributions() {
        let logits = [0.25f32, 0.5, 0.25].map(f32::ln);
        assert!((log_likelihood(&logits, 1) - 0.5f64.ln()).abs() < 1e-7);
        assert_eq!(largest(&logits).0, 1);
        assert_eq!(divergence(&logits, &logits), 0.0);
        // 1/2 ln 2 + 2 * 1/4 ln(1/2): against the distribution 1/4, 1/4, 1/2.
        let other = [0.25f32, 0.25, 0.5].map(f32::ln);
        let expected = 0.5 * 2f64.ln() - 0.25 * 2f64.ln();
        assert!((divergence(&logits, &other) - expected).abs() < 1e-7);
        // A constant added to all logits changes nothing.
        assert!((divergence(&logits, &other.map(|logit| logit + 100.0)) - expected).abs() < 1e-4);
    }
}
