//! Matrices that get no gradient: a product whose backward pass asks for its input's gradient only.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor, bail};

/// `x [tokens, columns]` times a constant matrix `[rows, columns]`, plus a bias `[rows]`: `[tokens,
/// rows]`.
///
/// # Errors
/// Shapes or types of numbers do not agree.
pub fn linear(x: &Tensor, matrix: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let product = x.contiguous()?.apply_op1(Product { matrix: matrix.detach() })?;
    match bias {
        Some(bias) => product.broadcast_add(bias),
        None => Ok(product),
    }
}

/// A product of two tensors would also make the gradient of its second one, which here is the
/// larger half of the work.
struct Product {
    matrix: Tensor,
}

impl CustomOp1 for Product {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (tokens, columns) = layout.shape().dims2()?;
        let transposed = self.matrix.t()?;
        let (expected, rows) = transposed.dims2()?;
        if expected != columns {
            bail!("a matrix of {expected} columns got inputs of {columns}");
        }
        let (storage, matrix_layout) = transposed.storage_and_layout();
        let Storage::Cpu(matrix) = &*storage else { bail!("weights are in main memory") };
        let product = x.matmul(matrix, (1, tokens, rows, columns), layout, matrix_layout)?;
        Ok((product, (tokens, rows).into()))
    }

    fn bwd(&self, _x: &Tensor, _product: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        gradient.contiguous()?.matmul(&self.matrix).map(Some)
    }
}
