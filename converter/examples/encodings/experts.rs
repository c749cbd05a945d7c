//! The matrices of a model that an encoding is tried on, and the model with all of them replaced.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use hardtack_converter::calibrate::Model;
use hardtack_converter::calibrate::graph::{AttentionWeights, BlockWeights, FeedForwardWeights};
use hardtack_converter::quantize::encode_rows;
use hardtack_converter::store::{Key, Shape, Store};
use hardtack_format::{Encoding, Role, SectionKey};

pub type Failure = Box<dyn std::error::Error>;

/// Which matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of routed experts.
    Experts,
    /// All of the layers but gates.
    Layers,
}

/// One matrix in full.
pub struct Matrix {
    pub key: Key,
    pub rows: usize,
    pub columns: usize,
    /// `[rows, columns]`
    pub weights: Vec<f32>,
}

/// Reads them.
pub fn matrices(model: &Model, scope: Scope) -> Result<Vec<Matrix>, Failure> {
    let mut all = Vec::new();
    for index in 0..model.spec().layers.len() {
        let layer = model.layer(index, DType::F32)?;
        let section = SectionKey::layer(index as u32);
        if let (AttentionWeights::Grouped(own), Scope::Layers) = (&layer.attention, scope) {
            for (role, tensor) in [
                (Role::Query, &own.query),
                (Role::Key, &own.key),
                (Role::Value, &own.value),
                (Role::Output, &own.output),
            ] {
                all.push(matrix((section, role), tensor)?);
            }
        }
        if let FeedForwardWeights::Experts(mixture) = &layer.feed_forward {
            for (expert, block) in (0..).zip(&mixture.experts) {
                let BlockWeights { gated, up, down, .. } = block;
                for (role, tensor) in [(Role::Gated, gated), (Role::Up, up), (Role::Down, down)] {
                    all.push(matrix((SectionKey::expert(index as u32, expert), role), tensor)?);
                }
            }
        }
    }
    Ok(all)
}

fn matrix(key: Key, tensor: &Tensor) -> Result<Matrix, Failure> {
    let (rows, columns) = tensor.dims2()?;
    Ok(Matrix { key, rows, columns, weights: tensor.flatten_all()?.to_vec1()? })
}

/// The model with what `kept` leaves of each matrix, written at `path`, and the squared error
/// relative to the weights'.
pub fn replaced(
    model: &Model,
    matrices: &[Matrix],
    path: &Path,
    kept: impl Fn(&Matrix) -> Vec<f32>,
) -> Result<(Model, f64), Failure> {
    let mut store = Store::open(path, [0; 32])?;
    let (mut error, mut whole) = (0.0, 0.0);
    for own in matrices {
        let kept = kept(own);
        let square = |number: f32| f64::from(number).powi(2);
        error += own.weights.iter().zip(&kept).map(|(a, b)| square(a - b)).sum::<f64>();
        whole += own.weights.iter().map(|&weight| square(weight)).sum::<f64>();
        let shape = Shape {
            encoding: Encoding::F32,
            stack: 1,
            rows: own.rows as u32,
            columns: own.columns as u32,
        };
        store.put(own.key, shape, &encode_rows(Encoding::F32, &kept, own.columns)?)?;
    }
    // The open file outlives its name where the system lets it; elsewhere the next one overwrites
    // it.
    let _ = std::fs::remove_file(path);
    Ok((model.with(Arc::new(store)), error / whole))
}
