//! The three sections of a blob's text.

use hardtack_format::vocabulary::{self, TokenKind, Vocabulary};

use super::error::VocabularyError;
use super::findings::Findings;
use super::markers::looks_like_a_mark;

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
    /// What would break a conversation, one line each.
    pub problems: Vec<String>,
}

/// Longest chat template that is taken; the runtime refuses longer ones (its `TEMPLATE_BYTES_MAX`).
const TEMPLATE_BYTES_MAX: usize = 128 << 10;

impl TextSections {
    /// Keeps a template that the runtime would take, or says why not. An empty one is none.
    pub(super) fn set_template(&mut self, template: Option<String>) {
        match template {
            Some(text) if text.trim().is_empty() => {
                self.warnings.push(
                    "the chat template is empty, which is none: this model has no form of chat"
                        .into(),
                );
            }
            Some(text) if text.len() > TEMPLATE_BYTES_MAX => self.warnings.push(format!(
                "chat template left out: {} bytes, the limit is {TEMPLATE_BYTES_MAX}",
                text.len()
            )),
            template => self.template = template,
        }
    }

    pub(super) fn report(&mut self, findings: Findings) {
        self.warnings.extend(findings.warnings);
        self.problems.extend(findings.problems);
    }

    /// Makes markers of added tokens that a rendered template has written as marks. Words and ids
    /// outside the table stay what they are. Returns how many have become markers.
    ///
    /// # Errors
    /// The vocabulary section breaks its rules.
    pub fn mark(&mut self, written: &[u32]) -> Result<usize, VocabularyError> {
        let Some(section) = &self.vocabulary else { return Ok(0) };
        let table = Vocabulary::read(section.as_slice())?;
        let is_mark = |id: u32| {
            table.kind(id) == TokenKind::UserDefined
                && std::str::from_utf8(table.bytes(id)).is_ok_and(looks_like_a_mark)
        };
        let mut tokens: Vec<(TokenKind, &[u8])> =
            (0..table.count()).map(|id| (table.kind(id), table.bytes(id))).collect();
        let mut marked = 0;
        for &id in written.iter().filter(|id| is_mark(**id)) {
            marked += usize::from(tokens[id as usize].0 != TokenKind::Marker);
            tokens[id as usize].0 = TokenKind::Marker;
        }
        if marked > 0 {
            let section = vocabulary::write(table.rules(), &tokens)?;
            self.vocabulary = Some(section);
        }
        Ok(marked)
    }
}
