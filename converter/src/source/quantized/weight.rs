//! A weight that is stored as several tensors, and how its numbers are read.

use super::super::file::SourceFile;
use super::super::{SourceError, TensorInfo};
use super::bits::Codes;
use super::blocks::Blocks;
use super::grid::Grid;
use super::stored::Stored;
use super::values::Values;

/// A weight that is stored as several tensors.
#[derive(Debug)]
pub struct Quantized {
    pub name: String,
    /// Row-major, of the weight that it stands for.
    pub shape: Vec<usize>,
    /// The tensor with the codes.
    pub codes: TensorInfo,
    /// What it is called in messages, such as `GPTQ, 4 bits`.
    pub label: String,
    pub(super) layout: Layout,
}

#[derive(Debug)]
pub(super) enum Layout {
    Grouped(Box<Grouped>),
    Blocks(Box<Blocks>),
}

/// A weight whose groups follow its rows.
#[derive(Debug)]
pub(super) struct Grouped {
    pub codes: Codes,
    pub values: Values,
    /// Whether the codes are stored as `[columns, rows]`.
    pub turned: bool,
    pub scales: Grid,
    /// A second scale, of the scales.
    pub scales_of_scales: Option<(Grid, SecondScale)>,
    pub shift: Shift,
    pub groups: Groups,
}

/// What a second scale does to the first.
#[derive(Clone, Copy, Debug)]
pub(super) enum SecondScale {
    Multiplies,
    Divides,
}

#[derive(Debug)]
pub(super) enum Shift {
    None,
    /// Subtracted from the code.
    Zero(Grid),
    /// Added to the product.
    Offset(Grid),
}

/// To which group a column belongs.
#[derive(Debug)]
pub(super) enum Groups {
    /// This many columns follow each other in one group.
    Every(usize),
    /// The tensor has the group of each column, as I32; where all are -1 it is as if there were
    /// none.
    Listed(TensorInfo, usize),
}

impl Quantized {
    pub fn rows(&self) -> usize {
        self.shape[..self.shape.len() - 1].iter().product()
    }

    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Bits of a code, as stored.
    pub fn code_bits(&self) -> f64 {
        self.codes.bytes as f64 * 8.0 / (self.rows() as f64 * self.columns() as f64)
    }

    /// Rows `first..first + count`, which exist; no more than their parts is read.
    pub fn read_rows(
        &self,
        sources: &[SourceFile],
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>, SourceError> {
        let stored = Stored::of(sources);
        match &self.layout {
            Layout::Grouped(grouped) => grouped.read_rows(stored, first, count, self.columns()),
            Layout::Blocks(blocks) => {
                blocks.read(stored, first * self.columns()..(first + count) * self.columns())
            }
        }
    }
}

impl Grouped {
    fn read_rows(
        &self,
        stored: Stored<'_>,
        first: usize,
        count: usize,
        columns: usize,
    ) -> Result<Vec<f32>, SourceError> {
        let rows = first..first + count;
        let codes = if self.turned {
            self.codes.read(stored, 0..columns, rows)?
        } else {
            self.codes.read(stored, rows, 0..columns)?
        };
        let mut scales = self.scales.read(stored, first, count)?;
        let groups = self.scales.groups;
        if let Some((grid, effect)) = &self.scales_of_scales {
            let seconds = grid.read(stored, first, count)?;
            for (scales, second) in scales.chunks_mut(groups).zip(seconds) {
                scales.iter_mut().for_each(|scale| match effect {
                    SecondScale::Multiplies => *scale *= second,
                    SecondScale::Divides => *scale /= second,
                });
            }
        }
        let shifts = match &self.shift {
            Shift::None => Vec::new(),
            Shift::Zero(grid) | Shift::Offset(grid) => grid.read(stored, first, count)?,
        };
        let group_of = self.group_of(stored, columns)?;

        let mut numbers = Vec::with_capacity(count * columns);
        for row in 0..count {
            for (column, group) in group_of.iter().enumerate() {
                let code =
                    codes[if self.turned { column * count + row } else { row * columns + column }];
                let (value, place) = (self.values.of(code), row * groups + *group as usize);
                let scale = scales[place];
                numbers.push(match self.shift {
                    Shift::None => value * scale,
                    Shift::Zero(_) => (value - shifts[place]) * scale,
                    Shift::Offset(_) => value * scale + shifts[place],
                });
            }
        }
        Ok(numbers)
    }

    /// The group of every column.
    fn group_of(&self, stored: Stored<'_>, columns: usize) -> Result<Vec<u32>, SourceError> {
        const UNUSED: u32 = u32::MAX;
        let groups = self.scales.groups as u32;
        let every = |length: usize| (0..columns).map(|column| (column / length) as u32).collect();
        match &self.groups {
            Groups::Every(length) => Ok(every(*length)),
            Groups::Listed(tensor, length) => {
                let listed: Vec<u32> = stored
                    .bytes(tensor)?
                    .as_chunks()
                    .0
                    .iter()
                    .map(|bytes| u32::from_le_bytes(*bytes))
                    .collect();
                if listed.iter().all(|group| *group == UNUSED) {
                    return Ok(every(*length));
                }
                match listed.iter().position(|group| *group >= groups) {
                    None => Ok(listed),
                    Some(place) => Err(SourceError::Unexpected {
                        file: stored.label(tensor).to_owned(),
                        what: format!("tensor {}: element {place}", tensor.name),
                        offset: tensor.offset + 4 * place as u64,
                        expected: format!("a group from 0 to {}", groups - 1),
                        found: (listed[place] as i32).to_string(),
                    }),
                }
            }
        }
    }
}
