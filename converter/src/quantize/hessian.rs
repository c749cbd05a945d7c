//! What the inputs of a matrix look like together: the sum of `x xT` over the tokens, the Hessian
//! of its squared output error.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

use super::part::part;

/// Rows of the triangle that are kept and added to together.
const BAND: usize = 128;
/// Fewest tokens that say enough about any matrix.
const TOKENS_MIN: u64 = 64;
/// Columns for each of which one token is needed besides.
const COLUMNS_BY_TOKEN: u64 = 8;
/// Tokens of its layer that an expert with too few of its own is given.
const PRIOR_TOKENS: f32 = 32.0;

/// Activations or sums that calibration cannot use.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HessianError {
    /// An activation is no number or infinite.
    #[error(
        "activation of token {token}, column {column}: expected a finite number, found {found}"
    )]
    Activation {
        /// The token, counted from the first of the batch.
        token: usize,
        /// The column.
        column: usize,
        /// The activation.
        found: f32,
    },
    /// A token's weight is no number, infinite or negative.
    #[error("weight of token {token}: expected a finite number of 0 or more, found {found}")]
    TokenWeight {
        /// The token, counted from the first of the batch.
        token: usize,
        /// Its weight.
        found: f32,
    },
    /// A sum is no number or infinite.
    #[error("Hessian, row {row}, column {column}: expected a finite number, found {found}")]
    Entry {
        /// The row.
        row: usize,
        /// The column.
        column: usize,
        /// The sum.
        found: f32,
    },
}

/// `H = sum of weight * x xT` over tokens, `[columns, columns]`, symmetric; only its lower half is
/// kept.
///
/// Takes about `2 * columns^2` bytes. Sums are of single precision: their rounding is a thousand
/// times below the damping that they meet.
#[derive(Clone, Debug)]
pub struct Hessian {
    columns: usize,
    tokens: u64,
    /// Rows `BAND * i ..`, each with the columns up to the band's end.
    bands: Vec<Vec<f32>>,
}

impl Hessian {
    /// Nothing seen yet.
    pub fn new(columns: usize) -> Self {
        assert!(columns > 0, "a matrix has columns");
        let band = |first: usize| {
            vec![0.0; (columns.min(first + BAND) - first) * columns.min(first + BAND)]
        };
        Self { columns, tokens: 0, bands: (0..columns).step_by(BAND).map(band).collect() }
    }

    /// Columns of the matrix, which are the lengths of the activations.
    pub const fn columns(&self) -> usize {
        self.columns
    }

    /// Tokens seen.
    pub const fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Whether too few tokens were seen to trust them alone: fewer than 64, or than an eighth of
    /// the columns.
    pub fn is_starved(&self) -> bool {
        self.tokens < TOKENS_MIN.max(self.columns as u64 / COLUMNS_BY_TOKEN)
    }

    /// Adds activations `[tokens, columns]`, each token weighted with its own weight if there are
    /// any (squared gradients, shares of the router). Batches of hundreds of tokens are fastest.
    ///
    /// # Errors
    /// An activation or a weight is not finite, or a weight is negative; nothing is added then.
    pub fn add(
        &mut self,
        activations: &[f32],
        weights: Option<&[f32]>,
    ) -> Result<(), HessianError> {
        assert!(activations.len().is_multiple_of(self.columns), "whole tokens");
        let tokens = activations.len() / self.columns;
        assert!(weights.is_none_or(|weights| weights.len() == tokens), "a weight for each token");
        if let Some(at) = activations.iter().position(|number| !number.is_finite()) {
            let (token, column) = (at / self.columns, at % self.columns);
            return Err(HessianError::Activation { token, column, found: activations[at] });
        }
        let Some(weights) = weights else {
            self.accumulate(activations);
            return Ok(());
        };
        if let Some(token) =
            weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0))
        {
            return Err(HessianError::TokenWeight { token, found: weights[token] });
        }
        let mut weighted = activations.to_vec();
        for (token, weight) in weighted.chunks_exact_mut(self.columns).zip(weights) {
            token.iter_mut().for_each(|number| *number *= weight.sqrt());
        }
        self.accumulate(&weighted);
        Ok(())
    }

    fn accumulate(&mut self, activations: &[f32]) {
        let tokens = activations.len() / self.columns;
        let all =
            ArrayView2::from_shape((tokens, self.columns), activations).expect("whole tokens");
        self.bands.par_iter_mut().enumerate().for_each(|(index, band)| {
            let (first, last) = (index * BAND, self.columns.min((index + 1) * BAND));
            let mut sums = ArrayViewMut2::from_shape((last - first, last), band).expect("one band");
            let (own, lower) = (part(all, 0..tokens, first..last), part(all, 0..tokens, 0..last));
            general_mat_mul(1.0, &own.t(), &lower, 1.0, &mut sums);
        });
        self.tokens += tokens as u64;
    }

    /// Adds what another one has seen.
    pub fn merge(&mut self, other: &Self) {
        self.add_scaled(other, 1.0);
        self.tokens += other.tokens;
    }

    /// This one with about 32 tokens' worth of its layer's: `H + 32 / tokens * H_layer`.
    #[must_use]
    pub fn with_prior(&self, layer: &Self) -> Self {
        let mut sum = self.clone();
        if layer.tokens > 0 {
            sum.add_scaled(layer, PRIOR_TOKENS / layer.tokens as f32);
            sum.tokens += layer.tokens.min(PRIOR_TOKENS as u64);
        }
        sum
    }

    fn add_scaled(&mut self, other: &Self, scale: f32) {
        assert_eq!(self.columns, other.columns, "Hessians of inputs of one length");
        for (sums, others) in self.bands.iter_mut().flatten().zip(other.bands.iter().flatten()) {
            *sums += scale * others;
        }
    }

    /// The entry of a row and a column.
    pub fn at(&self, row: usize, column: usize) -> f32 {
        let (row, column) = (row.max(column), row.min(column));
        let (first, last) = (row / BAND * BAND, self.columns.min((row / BAND + 1) * BAND));
        self.bands[row / BAND][(row - first) * last + column]
    }

    /// Mean of the diagonal.
    pub fn mean_diagonal(&self) -> f64 {
        (0..self.columns).map(|column| f64::from(self.at(column, column))).sum::<f64>()
            / self.columns as f64
    }

    /// Finds sums that are no numbers.
    ///
    /// # Errors
    /// There is one.
    pub fn check(&self) -> Result<(), HessianError> {
        for (index, band) in self.bands.iter().enumerate() {
            let last = self.columns.min((index + 1) * BAND);
            if let Some(at) = band.iter().position(|sum| !sum.is_finite()) {
                return Err(HessianError::Entry {
                    row: index * BAND + at / last,
                    column: at % last,
                    found: band[at],
                });
            }
        }
        Ok(())
    }

    /// Squared error of the outputs that a difference `[rows, columns]` of weights makes: the trace
    /// of `D H DT`.
    pub fn error(&self, difference: &[f32]) -> f64 {
        assert!(difference.len().is_multiple_of(self.columns), "whole rows");
        let of_row = |row: &[f32]| -> f64 {
            let mut sum = 0.0;
            for i in 0..self.columns {
                let below: f64 = (0..i).map(|j| f64::from(self.at(i, j)) * f64::from(row[j])).sum();
                sum += f64::from(row[i])
                    * (2.0 * below + f64::from(self.at(i, i)) * f64::from(row[i]));
            }
            sum
        };
        difference.par_chunks_exact(self.columns).map(of_row).collect::<Vec<_>>().iter().sum()
    }
}
