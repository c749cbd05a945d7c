//! Weights into the encodings of the blob.

mod affine;
mod panel;
mod round_trip;

pub use panel::{PanelError, encode_rows};
pub use round_trip::round_trip;
