//! A buffer of matrix inputs: floats, and their int8 codes when a matrix of codes will read them.

use hardtack_format::encoding::GROUP_COLUMNS;
use hardtack_kernels::activations::groups;
use hardtack_kernels::{Activations, ActivationsMut, KernelTable};

use super::buffer::{Buffer, Room, buffers};
use super::multiply::{Cpu, Product};
use super::rows::{Cut, Rows};
use crate::error::Error;

/// What quantizing a number costs, in bytes that memory could deliver meanwhile.
const QUANTIZE_COST: usize = 2;
/// What copying one costs.
const GATHER_COST: usize = 2;

buffers! {
    /// The numbers of all rows.
    struct Numbers {
        floats: Buffer<f32>,
        codes: Buffer<i8>,
        scales: Buffer<f32>,
        sums: Buffer<f32>,
    }
}

/// Inputs of up to a fixed number of tokens.
#[derive(Debug, Default)]
pub struct Inputs {
    columns: usize,
    numbers: Numbers,
}

impl Room for Inputs {
    fn bytes(&self) -> u64 {
        self.numbers.bytes()
    }

    fn allocate(&mut self) -> Result<(), Error> {
        self.numbers.allocate()
    }
}

impl Inputs {
    /// Has room for at least `rows` rows of `columns` numbers.
    pub fn need(&mut self, rows: usize, columns: usize) {
        let groups = rows * groups(columns);
        self.numbers.floats.need(rows * columns);
        self.numbers.codes.need(groups * GROUP_COLUMNS);
        self.numbers.scales.need(groups);
        self.numbers.sums.need(groups);
    }

    /// Makes it hold rows of `columns` numbers. Returns the first `tokens` of them to be filled.
    pub fn rows(&mut self, tokens: usize, columns: usize) -> &mut [f32] {
        self.columns = columns;
        &mut self.numbers.floats[..tokens * columns]
    }

    /// The first `count` rows to be filled and quantized, of as many columns as [`Inputs::rows`]
    /// said.
    pub fn parts(&mut self, count: usize) -> InputRows<'_> {
        let groups = groups(self.columns);
        InputRows {
            floats: Rows::new(&mut self.numbers.floats[..count * self.columns], self.columns),
            codes: Rows::new(
                &mut self.numbers.codes[..count * groups * GROUP_COLUMNS],
                groups * GROUP_COLUMNS,
            ),
            scales: Rows::new(&mut self.numbers.scales[..count * groups], groups),
            sums: Rows::new(&mut self.numbers.sums[..count * groups], groups),
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
                        row.floats.copy_from_slice(&from.numbers.floats[of(columns)]);
                    }
                    if codes {
                        row.codes.copy_from_slice(&from.numbers.codes[of(row.codes.len())]);
                        row.scales.copy_from_slice(&from.numbers.scales[of(row.scales.len())]);
                        row.sums.copy_from_slice(&from.numbers.sums[of(row.sums.len())]);
                    }
                }
            },
        );
    }

    /// One row.
    pub fn row(&self, token: usize) -> &[f32] {
        &self.numbers.floats[token * self.columns..(token + 1) * self.columns]
    }

    /// What the kernels read.
    pub fn activations(&self) -> Activations<'_> {
        Activations {
            columns: self.columns,
            floats: &self.numbers.floats,
            codes: &self.numbers.codes,
            scales: &self.numbers.scales,
            sums: &self.numbers.sums,
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
