//! Costs of all calibration texts mixed in equal parts, in nats a token.

use super::target::STARVED_TOKENS;
use crate::calibrate::Tables;
use crate::calibrate::tables::DomainTable;

/// An expert that few tokens reached gets, besides its own costs, those of this many tokens of its
/// layer's mean: costs that were not measured are not zero.
const PRIOR_TOKENS: f64 = 32.0;

/// The mixed costs of some tables.
pub struct Costs<'a> {
    tables: &'a Tables,
    /// The factor of a summed cost of each text.
    shares: Vec<f64>,
}

impl<'a> Costs<'a> {
    /// Every text counts the same, however many tokens it has.
    pub fn new(tables: &'a Tables) -> Self {
        let texts = tables.domains.len() as f64;
        // Half of the sum of squares estimates the rise of the loss.
        let shares =
            tables.header.domains.iter().map(|own| 0.5 / (own.tokens as f64 * texts)).collect();
        Self { tables, shares }
    }

    /// One row of costs, a number for each option.
    pub fn row(&self, of: impl Fn(&DomainTable) -> &[f64]) -> Vec<f64> {
        let mut sum = vec![0.0; self.tables.header.options.len()];
        for (domain, share) in self.tables.domains.iter().zip(&self.shares) {
            sum.iter_mut().zip(of(domain)).for_each(|(sum, cost)| *sum += share * cost);
        }
        sum
    }

    /// Rows of every expert of a layer.
    pub fn experts(&self, layer: usize, count: usize) -> Vec<Vec<f64>> {
        let tokens = |expert: usize| -> u64 {
            let domains = self.tables.domains.iter();
            domains.map(|domain| domain.layers[layer].experts[expert].tokens).sum()
        };
        let mut costs: Vec<Vec<f64>> = (0..count)
            .map(|expert| self.row(|domain| &domain.layers[layer].experts[expert].cost))
            .collect();
        let all: u64 = (0..count).map(tokens).sum();
        let mut mean = vec![0.0; self.tables.header.options.len()];
        for row in &costs {
            mean.iter_mut().zip(row).for_each(|(mean, cost)| *mean += cost / all.max(1) as f64);
        }
        for (expert, row) in costs.iter_mut().enumerate() {
            if tokens(expert) < STARVED_TOKENS {
                row.iter_mut().zip(&mean).for_each(|(cost, mean)| *cost += PRIOR_TOKENS * mean);
            }
        }
        costs
    }
}
