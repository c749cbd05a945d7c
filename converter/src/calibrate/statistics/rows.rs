//! Rows of a stream, one for each token of all windows, as tensors: whole windows, or the rows that
//! an expert saw.

use candle_core::{Device, Result, Tensor};

use crate::calibrate::text::Window;

/// Rows of `width` numbers.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    width: usize,
}

impl<'a> Rows<'a> {
    /// Whole rows.
    pub fn new(values: &'a [f32], width: usize) -> Self {
        assert!(width > 0 && values.len().is_multiple_of(width), "whole rows");
        Self { values, width }
    }

    /// One row.
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.width..][..self.width]
    }

    /// Rows `first..first + count`, fewer at the end.
    pub fn span(&self, first: usize, count: usize) -> Result<Tensor> {
        let count = count.min(self.values.len() / self.width - first);
        let values = &self.values[first * self.width..][..count * self.width];
        Tensor::from_slice(values, (count, self.width), &Device::Cpu)
    }

    /// The rows of a window.
    pub fn window(&self, window: &Window<'_>) -> Result<Tensor> {
        self.span(window.first, window.tokens.len())
    }

    /// These rows.
    pub fn gather(&self, rows: &[usize]) -> Result<Tensor> {
        let values: Vec<f32> = rows.iter().flat_map(|&row| self.row(row).iter().copied()).collect();
        Tensor::from_vec(values, (rows.len(), self.width), &Device::Cpu)
    }
}

/// Writes a window's rows back.
pub fn put(values: &mut [f32], width: usize, window: &Window<'_>, rows: &Tensor) -> Result<()> {
    let rows = rows.flatten_all()?.to_vec1::<f32>()?;
    values[window.first * width..][..window.tokens.len() * width].copy_from_slice(&rows);
    Ok(())
}
