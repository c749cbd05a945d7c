//! Weights into the encodings of the blob.

mod affine;
mod cholesky;
mod feedback;
mod gptq;
mod hessian;
mod panel;
mod part;
mod round_trip;

pub use feedback::{DAMPING, Feedback};
pub use gptq::{GptqError, Quantized, quantize};
pub use hessian::{Hessian, HessianError};
pub use panel::{PanelError, encode_rows};
pub use round_trip::round_trip;
