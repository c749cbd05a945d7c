//! A rendered conversation in which every character still has its author.

use std::fmt;

/// Who wrote a character of a rendered conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Author {
    /// The template itself: only here do the names of control tokens mean these tokens.
    Template,
    /// A message whose role is `assistant`: what the model said earlier.
    Assistant,
    /// Anybody else: other messages, tools, documents, variables.
    Other,
}

/// A stretch of text by one author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<'r> {
    /// Who wrote it.
    pub author: Author,
    /// What is there, never empty.
    pub text: &'r str,
}

/// The text of a conversation. Whatever a template does with a message (cutting, trimming,
/// replacing, escaping), its characters keep their author, so that nobody's words can be taken for
/// the template's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    text: String,
    /// Where each span ends, in bytes, ascending.
    ends: Vec<(usize, Author)>,
}

impl Rendered {
    /// The whole text. To turn it into tokens use `spans`: the text alone does not say who wrote
    /// what.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text in stretches of one author each.
    pub fn spans(&self) -> impl Iterator<Item = Span<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |&(end, author)| {
            let text = &self.text[start..end];
            start = end;
            Span { author, text }
        })
    }

    /// What the template itself writes, in pieces: before the first turn's text, between two, and
    /// after the last. A role is a word of the template.
    pub fn template_pieces(&self) -> Vec<String> {
        let mut pieces = vec![String::new()];
        let mut in_turn = false;
        for span in self.spans() {
            let is_role = ["system", "user", "assistant"].contains(&span.text);
            if span.author == Author::Template || is_role {
                if std::mem::take(&mut in_turn) {
                    pieces.push(String::new());
                }
                if let Some(piece) = pieces.last_mut() {
                    piece.push_str(span.text);
                }
            } else {
                in_turn = true;
            }
        }
        pieces
    }

    pub(in crate::text) fn push(&mut self, text: &str, author: Author) {
        if text.is_empty() {
            return;
        }
        self.text.push_str(text);
        match self.ends.last_mut() {
            Some((end, last)) if *last == author => *end = self.text.len(),
            _ => self.ends.push((self.text.len(), author)),
        }
    }
}

impl fmt::Display for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq<str> for Rendered {
    fn eq(&self, text: &str) -> bool {
        self.text == text
    }
}
