//! Characters that remember who wrote them. Texts of a template are slices of these, so that
//! Python's positions, which count characters, are positions of a slice, and whatever is done to a
//! text keeps its authors.

use crate::text::template::rendered::Author;

const AUTHOR_SHIFT: u32 = 21;
const CHARACTER: u32 = (1 << AUTHOR_SHIFT) - 1;

/// A character and its author. Comparisons look at the character only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ch(u32);

impl Ch {
    pub const fn new(character: char, author: Author) -> Self {
        Self(character as u32 | (author as u32) << AUTHOR_SHIFT)
    }

    /// One that the template itself wrote.
    pub const fn own(character: char) -> Self {
        Self(character as u32)
    }

    pub fn get(self) -> char {
        char::from_u32(self.0 & CHARACTER).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    pub fn author(self) -> Author {
        match self.0 >> AUTHOR_SHIFT {
            0 => Author::Template,
            1 => Author::Assistant,
            _ => Author::Other,
        }
    }

    /// Another character by the same author.
    pub const fn replaced(self, character: char) -> Self {
        Self(character as u32 | self.0 & !CHARACTER)
    }

    pub fn is(self, character: char) -> bool {
        self.0 & CHARACTER == u32::from(character)
    }
}

impl PartialEq for Ch {
    fn eq(&self, other: &Self) -> bool {
        (self.0 ^ other.0) & CHARACTER == 0
    }
}

impl Eq for Ch {}

impl PartialOrd for Ch {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ch {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0 & CHARACTER).cmp(&(other.0 & CHARACTER))
    }
}

/// A text by one author.
pub(super) fn written(text: &str, author: Author) -> impl Iterator<Item = Ch> {
    text.chars().map(move |character| Ch::new(character, author))
}

/// A text by the template.
pub(super) fn own(text: &str) -> impl Iterator<Item = Ch> {
    written(text, Author::Template)
}

pub(super) fn string(text: &[Ch]) -> String {
    text.iter().map(|ch| ch.get()).collect()
}

pub(super) fn is(text: &[Ch], other: &str) -> bool {
    let mut characters = other.chars();
    text.len() <= other.len()
        && text.iter().all(|ch| characters.next().is_some_and(|character| ch.is(character)))
        && characters.next().is_none()
}

/// Python's `str.isspace`: Unicode's white space and four separators of ASCII.
pub(super) fn is_space(ch: Ch) -> bool {
    let character = ch.get();
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Where Python's `str.splitlines` cuts, besides `\r\n`.
pub(super) fn is_line_end(ch: Ch) -> bool {
    matches!(
        ch.get(),
        '\n' | '\r'
            | '\u{b}'
            | '\u{c}'
            | '\u{1c}'
            | '\u{1d}'
            | '\u{1e}'
            | '\u{85}'
            | '\u{2028}'
            | '\u{2029}'
    )
}

/// Every character by `change`, which may make several of one.
pub(super) fn mapped<I: Iterator<Item = char>>(text: &[Ch], change: impl Fn(char) -> I) -> Vec<Ch> {
    text.iter().flat_map(|ch| change(ch.get()).map(|character| ch.replaced(character))).collect()
}

pub(super) fn lower(text: &[Ch]) -> Vec<Ch> {
    (0..text.len()).flat_map(|at| lower_at(text, at)).collect()
}

/// One character of a text in lower case: a capital sigma at the end of a word has a form of its
/// own.
pub(super) fn lower_at(text: &[Ch], at: usize) -> impl Iterator<Item = Ch> {
    let ch = text[at];
    let is_letter = |ch: &Ch| ch.get().is_alphabetic();
    let ends = ch.is('Σ')
        && text[..at].last().is_some_and(is_letter)
        && !text[at + 1..].first().is_some_and(is_letter);
    let sigma = ends.then_some('ς').into_iter();
    let plain = ch.get().to_lowercase().take(if ends { 0 } else { usize::MAX });
    sigma.chain(plain).map(move |character| ch.replaced(character))
}

pub(super) fn upper(text: &[Ch]) -> Vec<Ch> {
    mapped(text, char::to_uppercase)
}

/// The text without what `strips` at its two ends.
pub(super) fn trimmed(text: &[Ch], strips: impl Fn(Ch) -> bool, left: bool, right: bool) -> &[Ch] {
    let stays = |ch: &Ch| !strips(*ch);
    let start = if left { text.iter().position(stays).unwrap_or(text.len()) } else { 0 };
    let end = if right {
        text.iter().rposition(stays).map_or(start, |last| last + 1)
    } else {
        text.len()
    };
    &text[start..end.max(start)]
}
