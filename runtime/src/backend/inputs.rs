//! A buffer of matrix inputs: floats, and their int8 codes when a matrix of codes will read them.

use crate::backend::cpu::Product;
use crate::error::Error;
use crate::memory::zeros;
use hardtack_format::encoding::GROUP_COLUMNS;
use hardtack_kernels::activations::groups;
use hardtack_kernels::{Activations, ActivationsMut, KernelTable};

/// Inputs of up to a fixed number of tokens.
#[derive(Debug)]
pub struct Inputs {
    columns: usize,
    floats: Vec<f32>,
    codes: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<f32>,
}

/// How much an [`Inputs`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputsSize {
    floats: usize,
    groups: usize,
}

impl InputsSize {
    /// Room for so many rows of so many columns.
    pub const fn new(rows: usize, columns: usize) -> Self {
        Self { floats: rows * columns, groups: rows * groups(columns) }
    }

    /// Room for either.
    pub fn max(self, other: Self) -> Self {
        Self { floats: self.floats.max(other.floats), groups: self.groups.max(other.groups) }
    }

    /// Bytes that [`Inputs::new`] allocates.
    pub const fn bytes(self) -> u64 {
        (self.floats * 4 + self.groups * (GROUP_COLUMNS + 8)) as u64
    }
}

impl Inputs {
    /// Allocates the room.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn new(size: InputsSize) -> Result<Self, Error> {
        Ok(Self {
            columns: 0,
            floats: zeros(size.floats)?,
            codes: zeros(size.groups * GROUP_COLUMNS)?,
            scales: zeros(size.groups)?,
            sums: zeros(size.groups)?,
        })
    }

    /// Makes it hold rows of `columns` numbers, and gives the first `tokens` of them to be filled.
    pub fn rows(&mut self, tokens: usize, columns: usize) -> &mut [f32] {
        self.columns = columns;
        &mut self.floats[..tokens * columns]
    }

    fn quantize(&mut self, kernels: &KernelTable, tokens: usize) {
        let groups = groups(self.columns);
        for token in 0..tokens {
            let span = token * groups..(token + 1) * groups;
            (kernels.quantize)(ActivationsMut {
                floats: &self.floats[token * self.columns..(token + 1) * self.columns],
                codes: &mut self.codes[span.start * GROUP_COLUMNS..span.end * GROUP_COLUMNS],
                scales: &mut self.scales[span.clone()],
                sums: &mut self.sums[span],
            });
        }
    }

    /// Quantizes the first `tokens` rows if one of the products needs it.
    pub fn prepare(&mut self, kernels: &KernelTable, tokens: usize, products: &[Product]) {
        if products.iter().any(|product| product.tensor.encoding.code_bits().is_some()) {
            self.quantize(kernels, tokens);
        }
    }

    /// One row.
    pub fn row(&self, token: usize) -> &[f32] {
        &self.floats[token * self.columns..(token + 1) * self.columns]
    }

    /// What the kernels read.
    pub fn activations(&self) -> Activations<'_> {
        Activations {
            columns: self.columns,
            floats: &self.floats,
            codes: &self.codes,
            scales: &self.scales,
            sums: &self.sums,
        }
    }
}
