//! Checkpoints as they come from elsewhere, read tensor by tensor and never held in whole.

mod checkpoint;
mod dequantize;
mod element;
mod error;
mod file;
mod gguf;
mod hugging_face;
mod json_file;
mod origin;
mod quantized;
mod recognize;
mod safetensors_header;
mod tensor;
mod unreadable;

pub use checkpoint::{Checkpoint, Form};
pub use element::ElementKind;
pub use error::{SourceError, optional};
pub use gguf::{Gguf, GgufMetadata, parse_gguf};
pub use origin::CalibrationText;
pub(crate) use origin::{Origin, files, hash_files, unread};
pub use safetensors_header::parse_safetensors_header;
pub use tensor::TensorInfo;
