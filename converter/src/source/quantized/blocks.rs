//! bitsandbytes' four bits: blocks of numbers that do not follow the rows of a weight.

use std::ops::Range;

use super::super::{SourceError, TensorInfo};
use super::stored::Stored;

/// Numbers that a code can mean.
pub const CODES: usize = 16;

/// All numbers of a weight in one row: number `i` is `code_values[code i] * scale of its block`.
#[derive(Debug)]
pub struct Blocks {
    /// Two to a byte, the first in the high half.
    pub codes: TensorInfo,
    /// The number of each code.
    pub values: TensorInfo,
    /// Numbers of a block.
    pub length: usize,
    pub scales: Scales,
}

/// The scales of blocks.
#[derive(Debug)]
pub enum Scales {
    /// F32, one for each block.
    Plain(TensorInfo),
    /// Bytes, each for an entry of `values`, times one F32 for `length` of them, plus `offset`.
    Nested { codes: TensorInfo, values: TensorInfo, scales: TensorInfo, length: usize, offset: f32 },
}

impl Blocks {
    /// The numbers `wanted`, counted through the whole weight.
    pub fn read(&self, stored: Stored<'_>, wanted: Range<usize>) -> Result<Vec<f32>, SourceError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = wanted.start / 2..wanted.end.div_ceil(2);
        let codes =
            stored.rectangle(&self.codes, self.codes.bytes as usize, 0..1, bytes.clone())?;
        let values = stored.numbers(&self.values, CODES, 0..1, 0..CODES)?;
        let blocks = wanted.start / self.length..(wanted.end - 1) / self.length + 1;
        let scales = self.scales.read(stored, blocks.clone())?;
        let number = |at: usize| {
            let pair = codes[at / 2 - bytes.start];
            let code = if at.is_multiple_of(2) { pair >> 4 } else { pair & 15 };
            values[usize::from(code)] * scales[at / self.length - blocks.start]
        };
        Ok(wanted.map(number).collect())
    }
}

impl Scales {
    fn read(&self, stored: Stored<'_>, blocks: Range<usize>) -> Result<Vec<f32>, SourceError> {
        let numbers =
            |tensor: &TensorInfo, range| stored.numbers(tensor, tensor.elements(), 0..1, range);
        match self {
            Self::Plain(tensor) => numbers(tensor, blocks),
            Self::Nested { codes, values, scales, length, offset } => {
                let values = numbers(values, 0..256)?;
                let first = blocks.start / length;
                let scales = numbers(scales, first..(blocks.end - 1) / length + 1)?;
                let codes = stored.rectangle(codes, codes.bytes as usize, 0..1, blocks.clone())?;
                let scale = |(block, code): (usize, u8)| {
                    values[usize::from(code)] * scales[block / length - first] + offset
                };
                Ok(blocks.zip(codes).map(scale).collect())
            }
        }
    }
}
