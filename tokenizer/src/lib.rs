//! What a `tokenizer.json` asks for, found out before the tokenizer library is given it.
//!
//! Such a file is a program: normalizers that rewrite a text one after another, regular expressions
//! that are compiled, tables whose sizes the file itself names. It comes with a stranger's model.
//! [`survey`] reads it once, keeps next to nothing of it, and refuses what takes more memory or
//! makes a text grow more than any published tokenizer does.
#![forbid(unsafe_code)]

mod charsmap;
mod demand;
mod error;
mod growth;
pub mod limits;
mod load;
mod memory;
mod regex;
mod section;
mod survey;

pub use demand::{ModelKind, Survey};
pub use error::SurveyError;
pub use load::load;
pub use survey::survey;
