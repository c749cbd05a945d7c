//! Chat templates: a conversation in, the text that the model was trained on out.
//!
//! A template is code from a stranger's file, in the language of Python's Jinja. It is read into a
//! tree (`lexer`, `parser`, `ast`) and run on Python's values (`machine`, `filters`, `methods`,
//! `tests`) as `transformers` runs it; where they differ is in docs/templates.md. Steps,
//! text and memory are bounded by `heap`, which every operation pays. Every character keeps its
//! author (`chars`), so that what a user said is never taken for the template's own words.

mod ast;
mod chars;
mod clock;
mod compare;
mod convert;
mod fault;
mod filters;
mod formatting;
mod given;
mod heap;
mod input;
mod json;
mod lexer;
mod machine;
mod markup;
mod message;
mod methods;
mod number;
mod operators;
mod parser;
mod percent;
mod print;
mod render;
mod rendered;
mod sequence;
mod sort;
mod tests;
mod value;

use std::sync::Arc;

use hardtack_format::vocabulary::{TokenKind, Vocabulary};

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

/// A template that has been read and found sound. Cloning it is cheap; rendering reads nothing
/// anew.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    source: Arc<str>,
    program: Arc<ast::Program>,
    begin: Arc<str>,
    end: Arc<str>,
    /// `unk_token`, where the vocabulary has one.
    unknown: Option<Arc<str>>,
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
        let program = contain(|| parser::parse(source))
            .unwrap_or_else(|panic| Err(TemplateError::Syntax(panic)))?;
        Ok(Self {
            source: source.into(),
            program: Arc::new(program),
            begin: begin.into(),
            end: end.into(),
            unknown: None,
        })
    }

    /// Reads the section `template`, with the begin, end and unknown tokens that the vocabulary
    /// names.
    pub fn from_section<B: AsRef<[u8]>>(
        template: &[u8],
        vocabulary: &Vocabulary<B>,
    ) -> Result<Self, TemplateError> {
        let source = String::from_utf8(template.to_vec())
            .map_err(|error| TemplateError::Syntax(format!("not UTF-8: {}", error.utf8_error())))?;
        let name = |id: Option<u32>| {
            id.map(|id| String::from_utf8_lossy(vocabulary.bytes(id))).unwrap_or_default()
        };
        let rules = vocabulary.rules();
        let mut template = Self::new(&source, &name(rules.begin), &name(rules.end))?;
        let unknown = (0..vocabulary.count()).find(|&id| vocabulary.kind(id) == TokenKind::Unknown);
        template.unknown = unknown.map(|id| name(Some(id)).into());
        Ok(template)
    }

    /// The special tokens that a template sees, by their names there.
    fn tokens(&self) -> Vec<(&'static str, &str)> {
        let known = [
            ("bos_token", Some(&self.begin)),
            ("eos_token", Some(&self.end)),
            ("unk_token", self.unknown.as_ref()),
        ];
        known.into_iter().filter_map(|(name, token)| Some((name, &**token?))).collect()
    }

    /// The template itself.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation.
    pub fn render(&self, input: &RenderInput<'_>) -> Result<Rendered, TemplateError> {
        contain(|| render::render(&self.program, &self.tokens(), input))
            .unwrap_or_else(|panic| Err(TemplateError::Render(panic)))
    }
}
