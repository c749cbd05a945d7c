//! Chat templates: a conversation in, the text that the model was trained on out. A template is code from a stranger's
//! file, so its steps, its text and its memory are bounded.

mod budget;
mod engine;
mod json;
mod library;
mod operators;
mod rewrite;

use hardtack_format::vocabulary::Vocabulary;

use crate::text::TemplateError;

/// Longest template. The converter leaves longer ones out.
pub const TEMPLATE_BYTES_MAX: usize = 128 << 10;

/// One turn of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or what else the template knows.
    pub role: &'a str,
    /// What is said.
    pub content: &'a str,
}

/// What a template may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenderLimits {
    /// Instructions of the template engine.
    pub steps: u64,
    /// Bytes of the rendered text.
    pub output_bytes: usize,
}

impl Default for RenderLimits {
    fn default() -> Self {
        Self { steps: 2_000_000, output_bytes: 1 << 20 }
    }
}

/// A template that has been read and found sound.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    source: String,
    begin: String,
    end: String,
    date: Option<String>,
}

impl ChatTemplate {
    /// Reads a template; `begin` and `end` are what it sees as `bos_token` and `eos_token`.
    pub fn new(source: &str, begin: &str, end: &str) -> Result<Self, TemplateError> {
        if source.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::Size { found: source.len(), limit: TEMPLATE_BYTES_MAX });
        }
        rewrite::check(source)?;
        Ok(Self { source: source.into(), begin: begin.into(), end: end.into(), date: None })
    }

    /// Reads the section `template`, with the begin and end tokens that the vocabulary names.
    pub fn from_section<B: AsRef<[u8]>>(template: &[u8], vocabulary: &Vocabulary<B>) -> Result<Self, TemplateError> {
        let source =
            std::str::from_utf8(template).map_err(|error| TemplateError::Syntax(format!("not UTF-8: {error}")))?;
        let name = |id: Option<u32>| id.map(|id| String::from_utf8_lossy(vocabulary.bytes(id))).unwrap_or_default();
        let rules = vocabulary.rules();
        Self::new(source, &name(rules.begin), &name(rules.end))
    }

    /// Gives the template a date for `strftime_now`, written as it should appear. Without one the function is undefined:
    /// templates that use it have a fallback, and the same messages give the same text on every day.
    pub fn with_date(mut self, date: &str) -> Self {
        self.date = Some(date.into());
        self
    }

    /// The text of a conversation; with `add_generation_prompt` it ends where the model's answer begins.
    pub fn render(
        &self,
        messages: &[Message<'_>],
        add_generation_prompt: bool,
        limits: &RenderLimits,
    ) -> Result<String, TemplateError> {
        engine::render(self, messages, add_generation_prompt, limits)
    }
}
