//! Text for a blob: from a checkpoint's tokenizer, the three sections that let the runtime read and
//! write text.

mod added;
mod error;
mod findings;
mod folder;
mod folder_json;
mod gguf;
mod gguf_json;
mod gguf_keys;
mod library;
mod markers;
mod merges;
mod piece;
mod pre_tokenizer;
mod rules;
mod sections;

pub use error::VocabularyError;
pub use folder::{from_files, from_folder};
pub use gguf::from_gguf;
pub use gguf_keys::GgufVocabulary;
#[cfg(feature = "calibrate")]
pub(crate) use library::{load, read_plain_text};
pub use sections::TextSections;
