//! Forward: every layer is read once and sees all windows.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{Device, Tensor};
use hardtack_format::Role;

use super::boundaries::Boundaries;
use super::rows::{Rows, put};
use super::run::Run;
use super::settings::{DTYPE, Phase};
use crate::calibrate::error::CalibrateError;
use crate::calibrate::graph::{layer, quantized};
use crate::calibrate::tables::Tables;
use crate::calibrate::text::Window;

impl Run<'_> {
    /// Keeps the stream before each of the first `kept` layers, runs the first `layers` of them.
    /// Returns what comes out: the stream of all windows' tokens, `[tokens, hidden]`.
    pub fn forward(
        &mut self,
        kept: usize,
        layers: usize,
        boundaries: &mut Boundaries,
    ) -> Result<Vec<f32>, CalibrateError> {
        let mut stream = self.begin()?;
        for index in 0..kept.max(layers) {
            if index < kept {
                boundaries.put(index, &stream)?;
            }
            if index < layers {
                self.run_layer(index, &mut stream)?;
            } else {
                self.step(Phase::Forward, self.windows.len() as u64);
            }
        }
        Ok(stream)
    }

    /// The stream before the first layer.
    pub fn begin(&self) -> Result<Vec<f32>, CalibrateError> {
        let row = |token| self.model.global_rows(Role::Embedding, token as usize, 1);
        embed(self.model.spec().embedding_scale, &self.windows, row)
    }

    /// Runs some layers on the stream before the first of them.
    pub fn run_layers(
        &mut self,
        layers: Range<usize>,
        stream: &mut [f32],
    ) -> Result<(), CalibrateError> {
        layers.into_iter().try_for_each(|index| self.run_layer(index, stream))
    }

    fn run_layer(&mut self, index: usize, stream: &mut [f32]) -> Result<(), CalibrateError> {
        let spec = &self.model.spec().layers[index];
        let weights = self.model.layer(index, DTYPE)?;
        for number in 0..self.windows.len() {
            self.check_stop()?;
            let window = self.windows[number];
            let output = layer(
                spec,
                &weights,
                &Rows::new(stream, self.hidden).window(&window)?,
                &self.pass,
            )?;
            put(stream, self.hidden, &window, &output)?;
            self.step(Phase::Forward, 1);
        }
        Ok(())
    }

    /// Costs of the embeddings, from the gradient at the stream before the first layer.
    pub fn embedding(
        &self,
        gradient: &Rows<'_>,
        tables: &mut Tables,
    ) -> Result<(), CalibrateError> {
        let scale = f64::from(self.model.spec().embedding_scale);
        let row = |token| self.model.global_rows(Role::Embedding, token as usize, 1);
        let rows = embedding_rows(&self.windows, row)?;
        for (option, &encoding) in self.settings.options.iter().enumerate() {
            // Squared change of every element, for every token that occurs.
            let mut changes = BTreeMap::new();
            for (&token, row) in &rows {
                let exact = Tensor::from_slice(row, (1, self.hidden), &Device::Cpu)?;
                let change =
                    (&exact - quantized(&exact, encoding)?)?.flatten_all()?.to_vec1::<f32>()?;
                changes.insert(token, change);
            }
            for window in &self.windows {
                let mut sum = 0.0;
                for (row, token) in (window.first..).zip(window.tokens) {
                    for (&change, &gradient) in changes[token].iter().zip(gradient.row(row)) {
                        sum += (scale * f64::from(change) * f64::from(gradient)).powi(2);
                    }
                }
                tables.domains[window.domain].embedding[option] += sum;
            }
        }
        Ok(())
    }
}

/// The stream before the first layer, `[tokens, hidden]`, from embeddings that `row` reads.
///
/// # Errors
/// The embeddings cannot be read.
pub fn embed(
    scale: f32,
    windows: &[Window<'_>],
    row: impl FnMut(u32) -> Result<Vec<f32>, CalibrateError>,
) -> Result<Vec<f32>, CalibrateError> {
    let rows = embedding_rows(windows, row)?;
    let tokens = windows.iter().flat_map(|window| window.tokens);
    Ok(tokens.flat_map(|token| rows[token].iter().map(|value| value * scale)).collect())
}

/// Embeddings of all tokens that occur.
fn embedding_rows(
    windows: &[Window<'_>],
    mut row: impl FnMut(u32) -> Result<Vec<f32>, CalibrateError>,
) -> Result<BTreeMap<u32, Vec<f32>>, CalibrateError> {
    let mut rows = BTreeMap::new();
    for &token in windows.iter().flat_map(|window| window.tokens) {
        if let std::collections::btree_map::Entry::Vacant(place) = rows.entry(token) {
            place.insert(row(token)?);
        }
    }
    Ok(rows)
}
