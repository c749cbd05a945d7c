//! Bytes and numbers of the stored tensors that make up a quantized one, a rectangle at a time.

use std::ops::Range;

use super::super::dequantize::decoder;
use super::super::file::SourceFile;
use super::super::{SourceError, TensorInfo};

/// The files of a checkpoint.
#[derive(Clone, Copy)]
pub(in super::super) struct Stored<'a> {
    sources: &'a [SourceFile],
}

impl<'a> Stored<'a> {
    pub fn of(sources: &'a [SourceFile]) -> Self {
        Self { sources }
    }

    /// What the file of a tensor is called in messages.
    pub fn label(self, tensor: &TensorInfo) -> &'a str {
        &self.sources[tensor.file].label
    }

    /// The whole of a small tensor.
    pub fn bytes(self, tensor: &TensorInfo) -> Result<Vec<u8>, SourceError> {
        let length = tensor.bytes as usize;
        self.rectangle(tensor, length, 0..1, 0..length)
    }

    /// Bytes `bytes` of each of the rows `rows`, of `row_bytes` bytes each.
    pub fn rectangle(
        self,
        tensor: &TensorInfo,
        row_bytes: usize,
        rows: Range<usize>,
        bytes: Range<usize>,
    ) -> Result<Vec<u8>, SourceError> {
        let what = format!("tensor {}", tensor.name);
        let source = &self.sources[tensor.file];
        let start = |row: usize| tensor.offset + row as u64 * row_bytes as u64 + bytes.start as u64;
        let mut read = vec![0; rows.len() * bytes.len()];
        if bytes == (0..row_bytes) {
            source.read_at(start(rows.start), &mut read, &what)?;
        } else if !bytes.is_empty() {
            for (row, target) in rows.zip(read.chunks_exact_mut(bytes.len())) {
                source.read_at(start(row), target, &what)?;
            }
        }
        Ok(read)
    }

    /// Numbers of a rectangle of a matrix with rows of `width` numbers. The kind is one of plain
    /// numbers.
    pub fn numbers(
        self,
        tensor: &TensorInfo,
        width: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Result<Vec<f32>, SourceError> {
        let each = tensor.kind.block_bytes();
        let bytes =
            self.rectangle(tensor, width * each, rows, columns.start * each..columns.end * each)?;
        let decode = decoder(tensor.kind)
            .expect("a kind of numbers, as was found when the checkpoint was opened");
        let mut numbers = vec![0.0; bytes.len() / each];
        decode(&bytes, &mut numbers);
        Ok(numbers)
    }
}
