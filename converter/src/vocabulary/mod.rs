//! Text for a blob: from a checkpoint's tokenizer, the three sections that let the runtime read and write text.

mod error;
mod folder;
mod folder_json;
mod gguf;
mod gguf_json;
pub(crate) mod load;
mod merges;
mod piece;
mod pre_tokenizer;
mod rules;

pub use error::VocabularyError;
pub use folder::from_folder;
pub use gguf::{GgufVocabulary, from_gguf};

/// What a blob carries for text; a part that the checkpoint does not have is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextSections {
    /// Section `tokenizer`: a Hugging Face `tokenizer.json`.
    pub tokenizer: Option<Vec<u8>>,
    /// Section `vocabulary`: the table of `hardtack_format::vocabulary`.
    pub vocabulary: Option<Vec<u8>>,
    /// Section `template`: the chat template.
    pub template: Option<String>,
    /// What the person who bakes should know, one line each.
    pub warnings: Vec<String>,
}

/// Longest chat template that is taken; the runtime refuses longer ones (its `TEMPLATE_BYTES_MAX`).
const TEMPLATE_BYTES_MAX: usize = 128 << 10;

impl TextSections {
    /// Keeps a template that the runtime would take, or says why not.
    fn set_template(&mut self, template: Option<String>) {
        match template {
            Some(text) if text.len() > TEMPLATE_BYTES_MAX => self
                .warnings
                .push(format!("chat template left out: {} bytes, the limit is {TEMPLATE_BYTES_MAX}", text.len())),
            template => self.template = template,
        }
    }
}
