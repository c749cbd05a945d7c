//! A buffer of matrix inputs: floats, and their int8 codes when a matrix of codes will read them.

use crate::cpu::multiply::{Cpu, Product};
use crate::cpu::rows::{Cut, Rows};
use crate::error::Error;
use crate::memory::zeros;
use hardtack_format::encoding::GROUP_COLUMNS;
use hardtack_kernels::activations::groups;
use hardtack_kernels::{Activations, ActivationsMut, KernelTable};

/// What quantizing a number costs, in bytes that memory could deliver meanwhile.
const QUANTIZE_COST: usize = 2;
/// What copying one costs.
const GATHER_COST: usize = 2;

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

    /// The first `count` rows to be filled and quantized, of as many columns as [`Inputs::rows`]
    /// said.
    pub fn parts(&mut self, count: usize) -> InputRows<'_> {
        let groups = groups(self.columns);
        InputRows {
            floats: Rows::new(&mut self.floats[..count * self.columns], self.columns),
            codes: Rows::new(
                &mut self.codes[..count * groups * GROUP_COLUMNS],
                groups * GROUP_COLUMNS,
            ),
            scales: Rows::new(&mut self.scales[..count * groups], groups),
            sums: Rows::new(&mut self.sums[..count * groups], groups),
        }
    }

    /// Quantizes the first `count` rows if one of the products needs it.
    pub fn prepare(&mut self, cpu: &Cpu<'_>, count: usize, products: &[Product]) {
        if products.iter().any(Product::reads_codes) {
            let cost = QUANTIZE_COST * self.columns;
            cpu.for_rows(count, cost, self.parts(count), |_, mut rows| rows.quantize(cpu.kernels));
        }
    }

    /// Takes rows of other inputs, which are prepared: row `index` becomes their row
    /// `sources[index]`.
    pub fn gather(&mut self, cpu: &Cpu<'_>, from: &Self, sources: &[u32], products: &[Product]) {
        let columns = from.columns;
        self.rows(sources.len(), columns);
        let codes = products.iter().any(Product::reads_codes);
        let floats = !products.iter().all(Product::reads_codes);
        cpu.for_rows(
            sources.len(),
            GATHER_COST * columns,
            self.parts(sources.len()),
            |range, mut rows| {
                for (row, &source) in rows.iter_mut().zip(&sources[range]) {
                    let of = |all: usize| source as usize * all..(source as usize + 1) * all;
                    if floats {
                        row.floats.copy_from_slice(&from.floats[of(columns)]);
                    }
                    if codes {
                        row.codes.copy_from_slice(&from.codes[of(row.codes.len())]);
                        row.scales.copy_from_slice(&from.scales[of(row.scales.len())]);
                        row.sums.copy_from_slice(&from.sums[of(row.sums.len())]);
                    }
                }
            },
        );
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

/// Rows of [`Inputs`] to be filled.
#[derive(Debug)]
pub struct InputRows<'a> {
    floats: Rows<'a, f32>,
    codes: Rows<'a, i8>,
    scales: Rows<'a, f32>,
    sums: Rows<'a, f32>,
}

impl Cut for InputRows<'_> {
    fn cut(self, rows: usize) -> (Self, Self) {
        let (floats, codes) = (self.floats.cut(rows), self.codes.cut(rows));
        let (scales, sums) = (self.scales.cut(rows), self.sums.cut(rows));
        (
            Self { floats: floats.0, codes: codes.0, scales: scales.0, sums: sums.0 },
            Self { floats: floats.1, codes: codes.1, scales: scales.1, sums: sums.1 },
        )
    }
}

/// One row of them.
#[derive(Debug)]
pub struct InputRow<'a> {
    /// `[columns]`
    pub floats: &'a mut [f32],
    codes: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [f32],
}

impl InputRows<'_> {
    /// `[rows, columns]`
    pub const fn floats(&mut self) -> &mut [f32] {
        self.floats.elements()
    }

    /// One row after another.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = InputRow<'_>> {
        let codes = self.floats.iter_mut().zip(self.codes.iter_mut());
        let scales = self.scales.iter_mut().zip(self.sums.iter_mut());
        codes.zip(scales).map(|((floats, codes), (scales, sums))| InputRow {
            floats,
            codes,
            scales,
            sums,
        })
    }

    /// Quantizes every row.
    pub fn quantize(&mut self, kernels: &KernelTable) {
        for InputRow { floats, codes, scales, sums } in self.iter_mut() {
            (kernels.quantize)(ActivationsMut { floats, codes, scales, sums });
        }
    }
}
