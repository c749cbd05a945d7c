//! Ways to keep a matrix in few bits, the blob's own and others, as what is left of the weights
//! afterwards. Measured by the example `encodings`, held to known cases by the test `encodings`.
#![allow(dead_code, reason = "test and example each use their part")]

mod feedback;
mod group;
mod two_level;

use hardtack_format::encoding::{GROUP_COLUMNS, PANEL_ROWS};
use hardtack_kernels::hadamard::hadamard;
use rayon::prelude::*;

pub use feedback::carry;
use feedback::round_in_turn;
pub use group::{Book, Offset, Range, search};
use two_level::share_ranges;

/// What the codes of a matrix stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// Equal steps.
    Uniform,
    /// Quantiles of the normal distribution (NF4 of QLoRA, arXiv 2305.14314, appendix E; the same
    /// rule for 8 and 4 entries).
    Normal,
    /// Entries fitted to the matrix, of 7 bits each.
    Fitted,
}

/// How scales and minima are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scales {
    /// An f16 number each.
    Halves,
    /// Codes of n bits under two f16 numbers for 256 columns of a row.
    Row(u32),
    /// The same for a tile of 16 rows by 64 columns.
    Tile(u32),
}

/// A way to keep a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    pub codes: Codes,
    pub bits: u32,
    /// Columns under one scale.
    pub group: usize,
    pub offset: Offset,
    pub scales: Scales,
    /// Inputs are turned in blocks of n columns.
    pub rotation: Option<usize>,
}

/// Columns of a row under one pair of f16 numbers.
const ROW_COLUMNS: usize = 256;
/// The largest magnitude of an entry: with the sign 7 bits, so that two products with int8 fit in
/// 16.
const ENTRY_MAX: f32 = 63.0;
/// Rounds in which groups and entries are fitted to each other.
const FITTING_ROUNDS: usize = 4;
/// One of every n groups is fitted on: thousands of weights for each entry are enough.
const FITTING_STEP: usize = 5;

impl Scheme {
    /// What the blob has at `bits` bits.
    pub const fn shipped(bits: u32) -> Self {
        let (codes, offset, scales) = (Codes::Uniform, Offset::Minimum, Scales::Halves);
        Self { codes, bits, group: GROUP_COLUMNS, offset, scales, rotation: None }
    }

    /// Bits a weight, scales and tables included, for matrices that groups divide.
    pub fn bits_per_weight(&self, rows: usize, columns: usize) -> f64 {
        let numbers = if self.offset == Offset::Minimum { 2.0 } else { 1.0 };
        let of_scales = |bits: u32, shared: usize| {
            numbers * (f64::from(bits) / self.group as f64 + 16.0 / shared as f64)
        };
        let scales = match self.scales {
            Scales::Halves => numbers * 16.0 / self.group as f64,
            Scales::Row(bits) => of_scales(bits, ROW_COLUMNS.min(columns)),
            Scales::Tile(bits) => of_scales(bits, PANEL_ROWS * GROUP_COLUMNS),
        };
        let table = if self.codes == Codes::Fitted {
            f64::from(8u32 << self.bits) / (rows * columns) as f64
        } else {
            0.0
        };
        f64::from(self.bits) + scales + table
    }

    /// The weights `[rows, columns]` as rounding leaves them.
    pub fn round(&self, weights: &[f32], columns: usize) -> Vec<f32> {
        let mut kept = weights.to_vec();
        self.turn(&mut kept, columns);
        let (book, ranges) = self.ranges(&kept, columns);
        kept.par_chunks_mut(self.group).zip(&ranges).for_each(|(group, range)| {
            let rounded = book.round(group, *range);
            group.copy_from_slice(&rounded);
        });
        self.turn(&mut kept, columns);
        kept
    }

    /// The same with errors fed back; the [`carry`] is of inputs that are turned as this scheme
    /// turns them.
    pub fn round_with_feedback(&self, weights: &[f32], columns: usize, carry: &[f32]) -> Vec<f32> {
        let mut kept = weights.to_vec();
        self.turn(&mut kept, columns);
        let (book, ranges) = self.ranges(&kept, columns);
        let row_groups = columns / self.group;
        kept.par_chunks_mut(columns).zip(ranges.par_chunks(row_groups)).for_each(
            |(row, ranges)| {
                round_in_turn(row, carry, |column, target| {
                    book.round(&[target], ranges[column / self.group])[0]
                });
            },
        );
        self.turn(&mut kept, columns);
        kept
    }

    /// Turns weights, or inputs, there and back.
    pub fn turn(&self, rows: &mut [f32], columns: usize) {
        if let Some(block) = self.rotation {
            assert!(columns.is_multiple_of(block), "whole blocks");
            rows.par_chunks_mut(block).for_each(hadamard);
        }
    }

    /// The entries, and the range of every group `[rows, columns / group]`.
    pub fn ranges(&self, weights: &[f32], columns: usize) -> (Book, Vec<Range>) {
        assert!(columns.is_multiple_of(self.group), "whole groups");
        let book = match self.codes {
            Codes::Uniform => uniform(self.bits, self.offset),
            Codes::Normal => Book::new(
                normal(self.bits).iter().map(|entry| (entry * ENTRY_MAX).round()).collect(),
            ),
            Codes::Fitted => self.fit_book(weights),
        };
        let mut ranges = self.search_all(weights, &book);
        match self.scales {
            Scales::Halves => {}
            Scales::Row(bits) => self.share(
                weights,
                columns,
                &book,
                bits,
                [1, ROW_COLUMNS.min(columns)],
                &mut ranges,
            ),
            Scales::Tile(bits) => {
                self.share(weights, columns, &book, bits, [PANEL_ROWS, GROUP_COLUMNS], &mut ranges);
            }
        }
        (book, ranges)
    }

    fn search_all(&self, weights: &[f32], book: &Book) -> Vec<Range> {
        weights.par_chunks(self.group).map(|group| search(group, book, self.offset)).collect()
    }

    /// Lets all groups of a rectangle of `size` rows and columns share their f16 numbers.
    fn share(
        &self,
        weights: &[f32],
        columns: usize,
        book: &Book,
        bits: u32,
        size: [usize; 2],
        ranges: &mut [Range],
    ) {
        let row_groups = columns / self.group;
        let [band_rows, wide] = [size[0], size[1] / self.group];
        let bands = ranges
            .par_chunks_mut(band_rows * row_groups)
            .zip(weights.par_chunks(band_rows * columns));
        bands.for_each(|(ranges, weights)| {
            let groups: Vec<&[f32]> = weights.chunks(self.group).collect();
            for first in (0..row_groups).step_by(wide) {
                let own: Vec<usize> = (0..groups.len())
                    .filter(|at| (first..first + wide).contains(&(at % row_groups)))
                    .collect();
                let own_groups: Vec<&[f32]> = own.iter().map(|&at| groups[at]).collect();
                let mut shared: Vec<Range> = own.iter().map(|&at| ranges[at]).collect();
                share_ranges(&own_groups, book, bits, &mut shared);
                own.iter().zip(shared).for_each(|(&at, range)| ranges[at] = range);
            }
        });
    }

    /// Entries with the least squared error, by turns with the ranges: each becomes the mean of the
    /// weights that take it, brought to its scale (Lloyd's algorithm over all groups at once).
    fn fit_book(&self, weights: &[f32]) -> Book {
        let mut book = uniform(self.bits, Offset::None);
        for _ in 0..FITTING_ROUNDS {
            let of_group = |group: &[f32]| {
                let (mut sums, range) = (
                    vec![(0.0f64, 0.0f64); book.entries().len()],
                    search(group, &book, self.offset),
                );
                book.codes(group, range, |code, weight| {
                    sums[code].0 += f64::from(range.scale * (weight - range.minimum));
                    sums[code].1 += f64::from(range.scale).powi(2);
                });
                sums
            };
            let every = weights.chunks(self.group).step_by(FITTING_STEP);
            let sums = every.map(of_group).reduce(|all, own| {
                all.iter().zip(own).map(|(all, own)| (all.0 + own.0, all.1 + own.1)).collect()
            });
            let sums = sums.expect("a matrix has groups");
            let moved = sums.iter().zip(book.entries());
            let entry = |((products, squares), &old): (&(f64, f64), &f32)| {
                if *squares > 0.0 { (products / squares) as f32 } else { old }
            };
            let mut entries: Vec<f32> = moved.map(entry).collect();
            entries.sort_by(f32::total_cmp);
            book = Book::new(entries);
        }
        let largest = book.entries().iter().fold(0.0f32, |largest, entry| largest.max(entry.abs()));
        Book::new(
            book.entries().iter().map(|entry| (entry * ENTRY_MAX / largest).round()).collect(),
        )
    }
}

/// Codes themselves where there is a minimum, else odd numbers on either side of zero.
fn uniform(bits: u32, offset: Offset) -> Book {
    let count = 1u32 << bits;
    match offset {
        Offset::Minimum => Book::uniform(0.0, 1.0, count),
        Offset::None => Book::uniform(1.0 - count as f32, 2.0, count),
    }
}

/// Normal quantiles, exact zero among them, the largest magnitude 1.
const fn normal(bits: u32) -> &'static [f32] {
    match bits {
        2 => &[-1.0, 0.0, 0.4358, 1.0],
        3 => &[-1.0, -0.5350, -0.2469, 0.0, 0.1833, 0.3820, 0.6230, 1.0],
        4 => &[
            -1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0, 0.0796, 0.1609,
            0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0,
        ],
        _ => panic!("tables of 4, 8 and 16 entries"),
    }
}
