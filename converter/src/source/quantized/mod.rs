//! Weights that a quantizer split into codes, scales and more, each seen as the one tensor it
//! stands for.
//!
//! A format's file finds the parts by their names and says how they fit together; what they mean is
//! the same for all: `(value of the code - zero) * scale`, or `value of the code * scale + offset`,
//! with one zero and scale for a group of a row's columns. Only bitsandbytes' four bits differ,
//! whose blocks do not follow rows. Which tensors are quantized is seen from the tensors that are
//! there: lists of modules in a configuration are often wrong.

mod awq_gptq;
mod bits;
mod bits_and_bytes;
mod compressed;
mod grid;
mod mlx;
mod parts;
mod scaled;
mod settings;
mod stored;
mod values;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::file::SourceFile;
use super::{SourceError, TensorInfo};
use bits::Codes;
use bits_and_bytes::Blocks;
use grid::Grid;
use parts::Parts;
pub(super) use settings::Settings;
pub(super) use stored::Stored;
use values::Values;

/// A weight that is stored as several tensors.
#[derive(Debug)]
pub(super) struct Quantized {
    pub name: String,
    /// Row-major, of the weight that it stands for.
    pub shape: Vec<usize>,
    /// The tensor with the codes.
    pub codes: TensorInfo,
    /// What it is called in messages, such as `GPTQ, 4 bits`.
    pub label: String,
    layout: Layout,
}

#[derive(Debug)]
enum Layout {
    Grouped(Box<Grouped>),
    Blocks(Box<Blocks>),
}

/// A weight whose groups follow its rows.
#[derive(Debug)]
struct Grouped {
    codes: Codes,
    values: Values,
    /// Whether the codes are stored as `[columns, rows]`.
    turned: bool,
    scales: Grid,
    /// A second scale, of the scales.
    scales_of_scales: Option<(Grid, SecondScale)>,
    shift: Shift,
    groups: Groups,
}

/// What a second scale does to the first.
#[derive(Clone, Copy, Debug)]
enum SecondScale {
    Multiplies,
    Divides,
}

#[derive(Debug)]
enum Shift {
    None,
    /// Subtracted from the code.
    Zero(Grid),
    /// Added to the product.
    Offset(Grid),
}

/// To which group a column belongs.
#[derive(Debug)]
enum Groups {
    /// So many columns follow each other in one group.
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

/// What is left of a folder's tensors when those that belong together have been put together.
pub(super) struct Found {
    /// Tensors that stand for themselves.
    pub plain: Vec<TensorInfo>,
    /// Weights that stand for several.
    pub quantized: Vec<Quantized>,
    /// Tensors in `plain` that a network can do without.
    pub idle: HashSet<String>,
}

/// Puts a folder's tensors together. `config` loses the settings of a quantization that is undone
/// here.
///
/// # Errors
/// A method that is not known, by its name; parts that do not fit together, or lack one another.
pub(super) fn put_together(
    folder: &Path,
    config: &mut serde_json::Value,
    tensors: Vec<TensorInfo>,
    sources: &mut Vec<SourceFile>,
) -> Result<Found, SourceError> {
    let settings = Settings::read(folder, config, sources)?;
    let mut parts = Parts::new(tensors, Stored::of(sources));
    let mut quantized = BTreeMap::new();
    for name in parts.names() {
        let found = [
            awq_gptq::find,
            bits_and_bytes::find_four_bits,
            bits_and_bytes::find_eight_bits,
            compressed::find,
            mlx::find,
            scaled::find,
        ]
        .into_iter()
        .find_map(|find| find(&name, &mut parts, &settings).transpose())
        .transpose()?;
        let Some(found) = found else { continue };
        let codes = found.codes.clone();
        if let Some(other) = quantized.insert(found.name.clone(), found) {
            return Err(parts.wrong(
                &codes,
                "",
                format!("no other codes of {}", other.name),
                other.codes.name,
            ));
        }
    }
    settings.check_plain(&parts)?;
    let quantized: Vec<Quantized> = quantized.into_values().collect();
    let idle = idle_biases(&parts, &quantized)?;
    Ok(Found { plain: parts.rest(!quantized.is_empty()), quantized, idle })
}

/// Biases of nothing but zeros beside quantized weights: AutoGPTQ wrote them for every layer,
/// whether the model has biases or not.
fn idle_biases(parts: &Parts<'_>, quantized: &[Quantized]) -> Result<HashSet<String>, SourceError> {
    const BIAS_BYTES_MAX: u64 = 1 << 20;
    let mut idle = HashSet::new();
    for weight in quantized {
        let Some(module) = weight.name.strip_suffix(".weight") else { continue };
        let Some(bias) = parts.get(&format!("{module}.bias")) else { continue };
        if bias.bytes <= BIAS_BYTES_MAX && parts.stored.bytes(bias)?.iter().all(|byte| *byte == 0) {
            idle.insert(bias.name.clone());
        }
    }
    Ok(idle)
}
