//! Chat templates: a conversation in, the text that the model was trained on out. A template is code from a stranger's
//! file, so its steps, its text and its memory are bounded.

mod budget;
mod clock;
mod engine;
mod input;
mod json;
mod library;
mod message;
mod operators;
mod rendered;
mod rewrite;

use hardtack_format::vocabulary::Vocabulary;

pub use clock::Clock;
pub use input::{RenderInput, RenderLimits, parse_variable};
pub use message::Message;
pub use rendered::{Author, Rendered, Span};
/// A JSON value; objects keep the order of their keys.
pub use serde_json::Value as Json;

use crate::text::TemplateError;
use crate::text::contain::contain;

/// Longest template. The converter leaves longer ones out.
pub const TEMPLATE_BYTES_MAX: usize = 128 << 10;

/// A template that has been read and found sound.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    source: String,
    begin: String,
    end: String,
}

impl ChatTemplate {
    /// Reads a template; `begin` and `end` are what it sees as `bos_token` and `eos_token`.
    /// A template of nothing but spaces is none, and refused.
    pub fn new(source: &str, begin: &str, end: &str) -> Result<Self, TemplateError> {
        if source.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::Size { found: source.len(), limit: TEMPLATE_BYTES_MAX });
        }
        if source.trim().is_empty() {
            return Err(TemplateError::Empty);
        }
        contain(|| rewrite::check(source)).unwrap_or_else(|panic| Err(TemplateError::Syntax(panic)))?;
        Ok(Self { source: source.into(), begin: begin.into(), end: end.into() })
    }

    /// Reads the section `template`, with the begin and end tokens that the vocabulary names.
    pub fn from_section<B: AsRef<[u8]>>(template: &[u8], vocabulary: &Vocabulary<B>) -> Result<Self, TemplateError> {
        let source = String::from_utf8(template.to_vec())
            .map_err(|error| TemplateError::Syntax(format!("not UTF-8: {}", error.utf8_error())))?;
        let name = |id: Option<u32>| id.map(|id| String::from_utf8_lossy(vocabulary.bytes(id))).unwrap_or_default();
        let rules = vocabulary.rules();
        Self::new(&source, &name(rules.begin), &name(rules.end))
    }

    /// The text of a conversation.
    pub fn render(&self, input: &RenderInput<'_>) -> Result<Rendered, TemplateError> {
        contain(|| engine::render(self, input)).unwrap_or_else(|panic| Err(TemplateError::Render(panic)))
    }
}
