//! A checkpoint's tensors as families see them: the seam between families and readers of files.

/// The names and shapes of a checkpoint's tensors.
pub trait Names {
    /// All names, in any order.
    fn names(&self) -> Vec<String>;
    /// A tensor's shape, row-major: the last dimension is the contiguous one (GGUF's reversed).
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
}

/// A checkpoint whose tensors can be read: implemented by the converter for each kind of file.
///
/// A tensor is seen as a matrix `[product of leading dimensions, last dimension]`.
pub trait Tensors: Names {
    /// Why a read failed.
    type Error;
    /// Rows `first .. first + count` as floats, whatever they are stored as.
    fn read_rows(&self, name: &str, first: usize, count: usize) -> Result<Vec<f32>, Self::Error>;
    /// Rows `first .. first + count` of a tensor of bytes (the blocks and scales of MXFP4).
    fn read_bytes(&self, name: &str, first: usize, count: usize) -> Result<Vec<u8>, Self::Error>;
}
