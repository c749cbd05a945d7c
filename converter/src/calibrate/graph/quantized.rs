//! A matrix as an encoding would keep it: quantized by the converter's own quantizer, and read
//! back.

use candle_core::{DType, Device, Tensor};
use hardtack_format::Encoding;

use crate::calibrate::error::CalibrateError;
use crate::quantize::round_trip;

use super::weights::{AttentionWeights, BlockWeights, GroupedWeights, LatentWeights};

/// The same matrix (or stack of matrices) through an encoding and back, in the same type of
/// numbers.
///
/// # Errors
/// A weight does not fit the encoding.
pub fn quantized(matrix: &Tensor, encoding: Encoding) -> Result<Tensor, CalibrateError> {
    // Full precision is left as it is, whatever the type of numbers.
    if encoding == Encoding::F32 {
        return Ok(matrix.clone());
    }
    let columns = matrix.dim(candle_core::D::Minus1)?;
    let mut values = matrix.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    round_trip(encoding, &mut values, columns)?;
    Ok(Tensor::from_vec(values, matrix.shape(), &Device::Cpu)?.to_dtype(matrix.dtype())?)
}

/// All three matrices of a block through an encoding and back; biases stay.
///
/// # Errors
/// A weight does not fit the encoding.
pub fn quantized_block(
    weights: &BlockWeights,
    encoding: Encoding,
) -> Result<BlockWeights, CalibrateError> {
    let mut own = weights.clone();
    for matrix in [&mut own.gated, &mut own.up, &mut own.down] {
        *matrix = quantized(matrix, encoding)?;
    }
    Ok(own)
}

/// All matrices of an attention through an encoding and back; vectors stay.
///
/// # Errors
/// A weight does not fit the encoding.
pub fn quantized_attention(
    weights: &AttentionWeights,
    encoding: Encoding,
) -> Result<AttentionWeights, CalibrateError> {
    let mut own = weights.clone();
    let matrices = match &mut own {
        AttentionWeights::Grouped(GroupedWeights { query, key, value, output, .. }) => {
            vec![query, key, value, output]
        }
        AttentionWeights::Latent(LatentWeights {
            query,
            query_down,
            key_value_down,
            key_up,
            value_up,
            output,
            ..
        }) => {
            let mut matrices = vec![query, key_value_down, key_up, value_up, output];
            matrices.extend(query_down.as_mut().map(|(down, _)| down));
            matrices
        }
    };
    for matrix in matrices {
        *matrix = quantized(matrix, encoding)?;
    }
    Ok(own)
}
