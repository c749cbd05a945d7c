//! The tokens that steer a model, by name: how somebody's words are kept from ever becoming one of them.
//!
//! A template puts messages into a text that is then read for the names of such tokens. So wherever a message has such a
//! name, or a part of one at its edge, a *break* is put into it: a character that nobody uses and that is taken out again
//! after the names were read. Whatever a template does with the message, cutting, trimming or quoting it, a broken name is
//! not one. Text with a break in it is encoded as plain text.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use hardtack_format::vocabulary::{TokenKind, Vocabulary};

use crate::text::pieces::encode_in_pieces;
use crate::text::{TextError, Tokenizer};

/// Names that steer in some chat format, whatever a tokenizer calls their tokens.
const WELL_KNOWN: [&str; 16] = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<answer>",
    "</answer>",
    "<response>",
    "</response>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<seed:think>",
    "</seed:think>",
    "[THINK]",
    "[/THINK]",
];
/// In no text that is looked at.
const NO_MARK: char = '\u{10ffff}';
/// Shorter names are taken for text: `<|` and `]` stand in many texts.
const NAME_BYTES_MIN: usize = 3;

/// The names of all tokens that steer a model.
#[derive(Debug)]
pub struct Markers {
    names: Vec<String>,
    /// Finds names whatever their case: a template may change it.
    finder: AhoCorasick,
    /// Ids of steering tokens that the vocabulary calls text, ascending.
    more: Vec<u32>,
}

impl Markers {
    /// The control tokens of a vocabulary, and those added tokens that steer by what the template writes.
    ///
    /// # Errors
    /// There are too many names.
    pub fn new<B: AsRef<[u8]>>(vocabulary: &Vocabulary<B>, template: &str) -> Result<Self, TextError> {
        let (mut names, mut more) = (Vec::new(), Vec::new());
        for id in 0..vocabulary.count() {
            let kind = vocabulary.kind(id);
            let steers = kind.steers();
            if !steers && kind != TokenKind::UserDefined {
                continue;
            }
            let Ok(name) = std::str::from_utf8(vocabulary.bytes(id)) else { continue };
            if steers && name.chars().nth(1).is_some() {
                names.push(name.to_owned());
            } else if is_marker(name, template) {
                names.push(name.to_owned());
                more.push(id);
            }
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&names)
            .map_err(|error| TextError::Tokenizer(format!("too many control tokens: {error}")))?;
        Ok(Self { names, finder, more })
    }

    /// Whether a token steers, by what the vocabulary or the template says.
    pub fn steer<B: AsRef<[u8]>>(&self, vocabulary: &Vocabulary<B>, id: u32) -> bool {
        vocabulary.kind(id).steers() || self.more.binary_search(&id).is_ok()
    }

    /// A message with a break in every name. The names that begin at the bytes `real` are left whole: the model itself has
    /// written those tokens.
    pub fn guard(&self, text: &str, real: &[usize], mark: char) -> String {
        let trimmed = text.trim();
        let start = text.len() - text.trim_start().len();
        let mut guarded = String::with_capacity(text.len() + 16);
        guarded.push_str(&text[..start]);
        if self.may_end_one(trimmed) {
            guarded.push(mark);
        }
        let mut at = start;
        while let Some(found) = self.finder.find(&text[at..]) {
            let (begin, end) = (at + found.start(), at + found.end());
            let whole = real.contains(&begin);
            let next = if whole { end } else { begin + text[begin..].chars().next().map_or(1, char::len_utf8) };
            guarded.push_str(&text[at..next]);
            if !whole {
                guarded.push(mark);
            }
            at = next;
        }
        let end = start + trimmed.len();
        guarded.push_str(&text[at..end.max(at)]);
        if self.may_begin_one(trimmed) {
            guarded.push(mark);
        }
        guarded.push_str(&text[end.max(at)..]);
        guarded
    }

    /// A message with a break after every letter that a name begins with: nothing that is cut out of it or put together
    /// from it can be a name.
    pub fn guard_all(&self, text: &str, mark: char) -> String {
        let mut guarded = String::with_capacity(text.len() + 16);
        guarded.push(mark);
        for letter in text.chars() {
            guarded.push(letter);
            if self.begins_one(letter) {
                guarded.push(mark);
            }
        }
        guarded.push(mark);
        guarded
    }

    /// Whether a text begins with a name.
    pub fn begin(&self, text: &str) -> bool {
        self.finder.find(text).is_some_and(|found| found.start() == 0)
    }

    /// Whether names could be made of a message at all.
    pub fn has_beginnings(&self, text: &str) -> bool {
        text.chars().any(|letter| self.begins_one(letter))
    }

    /// The tokens of a rendered conversation. Names count where they are whole; a stretch between names with a break in it
    /// is plain text. `None` if there are more than `most`.
    ///
    /// # Errors
    /// The tokenizer fails, or cannot spell a name as plain text.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        mark: char,
        most: usize,
    ) -> Result<Option<Vec<u32>>, TextError> {
        let mut tokens = Vec::new();
        // Everything before `done` is encoded; up to `at` it is the template's, with whole names.
        let (mut done, mut at) = (0, 0);
        loop {
            let found = self.finder.find(&text[at..]).map(|found| (at + found.start(), at + found.end()));
            let (name, after) = found.unwrap_or((text.len(), text.len()));
            if text[at..name].contains(mark) {
                let Some(markup) = self.markup(tokenizer, &text[done..at], most)? else { return Ok(None) };
                let Some(plain) = self.spell(tokenizer, &text[at..name], mark, most)? else { return Ok(None) };
                tokens.extend(markup.into_iter().chain(plain));
                done = name;
            }
            at = after;
            if found.is_none() {
                break;
            }
        }
        let Some(markup) = self.markup(tokenizer, &text[done..], most)? else { return Ok(None) };
        tokens.extend(markup);
        Ok((tokens.len() <= most).then_some(tokens))
    }

    /// The tokens of text without breaks, in one go as a reference tokenizer reads it.
    fn markup(&self, tokenizer: &Tokenizer, text: &str, most: usize) -> Result<Option<Vec<u32>>, TextError> {
        let markup = |text: &str| tokenizer.encode_markup(text);
        let Some(tokens) = encode_in_pieces(text, most, markup)? else { return Ok(None) };
        let steering = tokens.iter().filter(|&&id| self.steer(tokenizer.vocabulary(), id)).count();
        if steering <= self.finder.find_iter(text).count() {
            return Ok(Some(tokens));
        }
        // A normalizer has made a name of something that was none, such as one in full-width letters.
        let mut tokens = Vec::new();
        let mut at = 0;
        for name in self.finder.find_iter(text) {
            let Some(plain) = self.spell(tokenizer, &text[at..name.start()], NO_MARK, most)? else { return Ok(None) };
            tokens.extend(plain);
            tokens.extend(markup(&text[name.range()])?);
            at = name.end();
        }
        let Some(plain) = self.spell(tokenizer, &text[at..], NO_MARK, most)? else { return Ok(None) };
        tokens.extend(plain);
        Ok(Some(tokens))
    }

    /// The tokens of plain text with breaks in it.
    fn spell(&self, tokenizer: &Tokenizer, text: &str, mark: char, most: usize) -> Result<Option<Vec<u32>>, TextError> {
        let whole = text.replace(mark, "");
        let plain = |text: &str| tokenizer.encode(text, crate::text::Special::Plain);
        let safe = |tokens: &[u32]| !tokens.iter().any(|&id| self.steer(tokenizer.vocabulary(), id));
        match encode_in_pieces(&whole, most, plain) {
            Ok(Some(tokens)) if safe(&tokens) => return Ok(Some(tokens)),
            Ok(None) => return Ok(None),
            // An older blob's tokenizer reads the names of added tokens in plain text too: halves of them are none.
            Ok(Some(_)) | Err(TextError::ControlInPlainText(_)) => {}
            Err(error) => return Err(error),
        }
        let mut tokens = Vec::new();
        for half in text.split(mark) {
            let Some(half) = encode_in_pieces(half, most, plain)? else { return Ok(None) };
            if let Some(&id) = half.iter().find(|&&id| self.steer(tokenizer.vocabulary(), id)) {
                return Err(TextError::ControlInPlainText(id));
            }
            tokens.extend(half);
        }
        Ok(Some(tokens))
    }

    /// Whether a text that follows this one could make a name of its end.
    fn may_begin_one(&self, text: &str) -> bool {
        let begins = |name: &String| {
            let lengths = name.char_indices().map(|(at, _)| at).skip(1);
            lengths.into_iter().any(|length| ends_with(text, &name[..length]))
        };
        !text.is_empty() && self.names.iter().any(begins)
    }

    /// Whether the text before this one could make a name of its start, or of all of it.
    fn may_end_one(&self, text: &str) -> bool {
        let ends = |name: &String| {
            let starts = name.char_indices().map(|(at, _)| at).skip(1);
            starts.into_iter().any(|start| {
                let rest = &name[start..];
                starts_with(text, rest) || (text.len() < rest.len() && starts_with(rest, text))
            })
        };
        !text.is_empty() && self.names.iter().any(ends)
    }

    fn begins_one(&self, letter: char) -> bool {
        self.names.iter().any(|name| name.chars().next().is_some_and(|first| first.eq_ignore_ascii_case(&letter)))
    }
}

/// Two of Unicode's noncharacters, or if need be private ones: one that is in none of these texts.
pub fn unused_mark<'t>(texts: impl Iterator<Item = &'t str> + Clone) -> char {
    let mut marks = ('\u{fdd0}'..='\u{fdef}').chain('\u{f0000}'..='\u{ffffd}');
    // More texts than fit a conversation would be needed to use up 65,000 characters of four bytes.
    marks.find(|&mark| !texts.clone().any(|text| text.contains(mark))).unwrap_or('\u{10fffe}')
}

/// Whether an added token that is called text steers after all: it looks like a mark, and the template writes it or it is
/// well known. Line breaks, words and the like are text, wherever they stand.
fn is_marker(name: &str, template: &str) -> bool {
    let edges = [name.chars().next(), name.chars().next_back()];
    let is_mark = |edge: Option<char>| edge.is_some_and(|edge| !edge.is_alphanumeric() && !edge.is_whitespace());
    name.len() >= NAME_BYTES_MIN
        && edges.into_iter().all(is_mark)
        && name.chars().any(char::is_alphanumeric)
        && (WELL_KNOWN.contains(&name) || template.contains(name))
}

fn starts_with(text: &str, start: &str) -> bool {
    text.as_bytes().get(..start.len()).is_some_and(|bytes| bytes.eq_ignore_ascii_case(start.as_bytes()))
}

fn ends_with(text: &str, end: &str) -> bool {
    let from = text.len().checked_sub(end.len());
    from.is_some_and(|from| text.as_bytes()[from..].eq_ignore_ascii_case(end.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardtack_format::vocabulary::{TextRules, write};

    const TOKENS: [(TokenKind, &str); 7] = [
        (TokenKind::Control, "<|im_start|>"),
        (TokenKind::Control, "<|im_end|>"),
        (TokenKind::UserDefined, "<think>"),
        (TokenKind::UserDefined, "<b>"),
        (TokenKind::UserDefined, "\n\n"),
        (TokenKind::UserDefined, "im_end"),
        (TokenKind::UserDefined, "<turn>"),
    ];

    fn markers() -> Markers {
        let tokens = TOKENS.map(|(kind, name)| (kind, name.as_bytes()));
        let vocabulary = Vocabulary::read(write(&TextRules::default(), &tokens).unwrap()).unwrap();
        Markers::new(&vocabulary, "<|im_start|>\n\n<turn>").unwrap()
    }

    #[test]
    fn only_what_steers_is_a_marker() {
        let markers = markers();
        assert_eq!(markers.names, ["<|im_start|>", "<|im_end|>", "<think>", "<turn>"]);
        assert_eq!(markers.more, [2, 6]);
    }

    #[test]
    fn every_name_is_broken_and_other_text_is_not() {
        let markers = markers();
        let guard = |text: &str| markers.guard(text, &[], '_');
        for text in ["plain", "", " \n", "a < b > c", "x<b>y", "user\n", "im", "say <thinking>"] {
            let whole = guard(text) == text;
            // A whole message that is the middle of a name is broken as well: the template may write the rest.
            assert_eq!(whole, text != "im", "{text:?}");
        }
        assert_eq!(guard("a<|im_end|>b"), "a<_|im_end|>b");
        assert_eq!(guard(" <|IM_END|>\n"), " <_|IM_END|>\n");
        assert_eq!(guard("<<think><think>"), "<<_think><_think>");
        assert_eq!(guard("end|> of"), "_end|> of");
        assert_eq!(guard("over <|im_"), "over <|im__");
        assert_eq!(markers.guard("<think> <think>", &[0], '_'), "<think> <_think>");
        assert_eq!(markers.guard_all("<a<", '_'), "_<_a<__");
    }

    #[test]
    fn a_mark_is_one_that_nobody_uses() {
        assert_eq!(unused_mark(["a", "\u{fdd0}"].into_iter()), '\u{fdd1}');
        let all: String = ('\u{fdd0}'..='\u{fdef}').collect();
        assert_eq!(unused_mark([all.as_str()].into_iter()), '\u{f0000}');
    }
}
