//! A figure that is not finite is no result: the model has numbers that are none, or more skipped
//! than there is to score.

use anyhow::ensure;

/// Refuses a figure that is NaN or infinite.
///
/// # Errors
/// It is.
pub fn ensure_finite(what: &str, figure: f64) -> anyhow::Result<()> {
    ensure!(
        figure.is_finite(),
        "{what} is {figure}: this model's logits are not numbers; `hardtack inspect --verify` checks the file, and another \
         bake is needed if it is whole"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_results() {
        ensure_finite("perplexity", 1e300).unwrap();
        for figure in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(
                ensure_finite("perplexity", figure)
                    .unwrap_err()
                    .to_string()
                    .starts_with("perplexity is ")
            );
        }
    }
}
