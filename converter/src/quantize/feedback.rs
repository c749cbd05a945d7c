//! How the rounding error of one column is made good by the columns after it.
//!
//! With `H = R RT`, `R` upper triangular, the squared output error of the weights' errors `e` is
//! `|e R|^2`, and column `j` adds
//!
//! ```text
//! R[j,j]^2 * (e[j] + sum over i < j of e[i] * carry[i,j])^2      carry[i,j] = R[i,j] / R[j,j]
//! ```
//!
//! So the best code for column `j` after those before it is the nearest to `w[j] + sum of e[i] *
//! carry[i,j]`. This is the update of GPTQ (Frantar and others, arXiv 2210.17323), which writes it
//! with the Cholesky factor of the inverse, `U = R^-1`; it needs no inverse (Chen and others, The
//! geometry of LLM quantization, arXiv 2507.18553).

use rayon::prelude::*;

use super::cholesky::factorize;
use super::hessian::{Hessian, HessianError};

/// The usual share of the mean diagonal that is added to the diagonal.
pub const DAMPING: f64 = 0.01;
/// Factors by which the damping is raised where it is too low.
const RAISED: [f64; 3] = [1.0, 10.0, 100.0];

/// What quantization with feedback needs to know about the inputs: made once, used for every matrix
/// that has these inputs.
///
/// Takes `4 * columns^2` bytes, while it is made three times that.
#[derive(Clone, Debug)]
pub struct Feedback {
    columns: usize,
    /// The damping that was needed; none where none was enough.
    damping: Option<f64>,
    /// `[columns, columns]`, above the diagonal; empty without feedback.
    carry: Vec<f32>,
    /// What an error of a column costs, at most 1.
    importance: Vec<f32>,
}

impl Feedback {
    /// Prepares feedback. An expert that too few tokens reached ([`Hessian::is_starved`]) borrows
    /// from its layer, if that is given. Where even a hundredfold damping does not make the Hessian
    /// positive definite, and where no token was seen, the result stands for rounding without
    /// feedback. Columns that no token used are rounded plainly: their weights are kept.
    ///
    /// # Errors
    /// The Hessian has an entry that is no number.
    pub fn new(own: &Hessian, layer: Option<&Hessian>, damping: f64) -> Result<Self, HessianError> {
        assert!(damping > 0.0 && damping.is_finite(), "a share of the mean diagonal");
        match layer.filter(|_| own.is_starved()) {
            Some(layer) => Self::of(&own.with_prior(layer), damping),
            None => Self::of(own, damping),
        }
    }

    /// Rounding without feedback.
    pub fn none(columns: usize) -> Self {
        assert!(columns > 0, "a matrix has columns");
        Self { columns, damping: None, carry: Vec::new(), importance: vec![1.0; columns] }
    }

    fn of(hessian: &Hessian, damping: f64) -> Result<Self, HessianError> {
        hessian.check()?;
        let (columns, mean) = (hessian.columns(), hessian.mean_diagonal());
        if mean <= 0.0 {
            return Ok(Self::none(columns));
        }
        for damping in RAISED.map(|raised| raised * damping) {
            // The lower factor of the matrix turned by 180 degrees is R, turned.
            let mut turned = vec![0.0; columns * columns];
            turned.par_chunks_exact_mut(columns).enumerate().for_each(|(row, entries)| {
                for (column, entry) in entries[..=row].iter_mut().enumerate() {
                    *entry = f64::from(hessian.at(columns - 1 - row, columns - 1 - column)) / mean;
                }
                entries[row] += damping;
            });
            if factorize(&mut turned, columns).is_ok() {
                return Ok(Self::from_turned(&turned, columns, damping));
            }
        }
        Ok(Self::none(columns))
    }

    fn from_turned(turned: &[f64], columns: usize, damping: f64) -> Self {
        let diagonal = |column: usize| turned[(columns - 1 - column) * (columns + 1)];
        let mut carry = vec![0.0; columns * columns];
        carry.par_chunks_exact_mut(columns).enumerate().for_each(|(row, entries)| {
            let own = &turned[(columns - 1 - row) * columns..];
            for (column, entry) in entries.iter_mut().enumerate().skip(row + 1) {
                *entry = (own[columns - 1 - column] / diagonal(column)) as f32;
            }
        });
        let costs: Vec<f64> = (0..columns).map(|column| diagonal(column).powi(2)).collect();
        let largest = costs.iter().copied().fold(0.0, f64::max);
        let importance = costs.iter().map(|cost| (cost / largest) as f32).collect();
        Self { columns, damping: Some(damping), carry, importance }
    }

    /// Columns of the matrices it is for.
    pub const fn columns(&self) -> usize {
        self.columns
    }

    /// The share of the mean diagonal that was added to the diagonal; none for rounding without
    /// feedback.
    pub const fn damping(&self) -> Option<f64> {
        self.damping
    }

    /// How errors of earlier columns (rows) move the targets of later ones; nothing without
    /// feedback.
    pub(super) fn carry(&self) -> Option<&[f32]> {
        self.damping.map(|_| self.carry.as_slice())
    }

    /// What an error of a column costs, relative to the dearest.
    pub(super) fn importance(&self) -> &[f32] {
        &self.importance
    }
}
