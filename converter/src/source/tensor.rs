//! Where one tensor lies in its file, and its shape seen as a matrix.

use super::ElementKind;

/// One tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the checkpoint.
    pub name: String,
    /// Row-major: the last dimension is contiguous, whatever the format's own order.
    pub shape: Vec<usize>,
    /// How elements are stored.
    pub kind: ElementKind,
    /// Index into [`Checkpoint::files`](super::Checkpoint::files).
    pub file: usize,
    /// Position of the first byte in the file.
    pub offset: u64,
    /// Bytes of the whole tensor.
    pub bytes: u64,
}

impl TensorInfo {
    /// The last dimension; 1 for a scalar.
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The product of all dimensions but the last; 1 for a vector. `storage_bytes` has checked that
    /// it fits.
    pub fn rows(&self) -> usize {
        let leading = self.shape.len().saturating_sub(1);
        self.shape[..leading].iter().product()
    }

    /// The product of all dimensions.
    pub fn elements(&self) -> usize {
        self.rows() * self.columns()
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> u64 {
        (self.columns() / self.kind.block_length()) as u64 * self.kind.block_bytes() as u64
    }
}

/// Bytes that a tensor of this shape takes, or what is wrong with the shape.
pub(super) fn storage_bytes(shape: &[usize], kind: ElementKind) -> Result<u64, String> {
    let too_large = || "a number of elements that fits in memory".to_owned();
    let elements = shape
        .iter()
        .try_fold(1usize, |product, &dimension| product.checked_mul(dimension))
        .ok_or_else(too_large)?;
    // Without elements the product says nothing of the other dimensions, and no weight tensor is
    // empty.
    if elements == 0 {
        return Err("dimensions of at least 1".to_owned());
    }
    let columns = shape.last().copied().unwrap_or(1);
    if columns % kind.block_length() != 0 {
        let length = kind.block_length();
        return Err(format!("a last dimension divisible by {length}, the {kind} block"));
    }
    let blocks = (elements / kind.block_length()) as u64;
    blocks.checked_mul(kind.block_bytes() as u64).ok_or_else(too_large)
}
