//! Weights into the encodings of the blob.

mod affine;
mod panel;

pub use panel::{PanelError, encode_rows};
