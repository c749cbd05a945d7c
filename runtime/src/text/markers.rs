//! The tokens that steer a model, by name: how somebody's words are kept from ever becoming one of
//! them.
//!
//! A rendered conversation is read for the names of such tokens. Every character of it has an
//! author, so wherever a name is not the template's own, a *break* is put into it: a character that
//! nobody uses and that is taken out again after the names were read. Text with a break in it is
//! encoded as plain text, and everything else in one go, as a reference tokenizer reads it.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use hardtack_format::vocabulary::{TokenKind, Vocabulary};

use crate::text::pieces::encode_in_pieces;
use crate::text::{Author, Rendered, TextError, Tokenizer};

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
/// Shorter names are taken for text: `<|` and `]` are in many texts.
const NAME_BYTES_MIN: usize = 3;

/// The names of all tokens that steer a model.
#[derive(Debug)]
pub struct Markers {
    /// For each name, whether the model may write it as a part of its answer.
    shown: Vec<bool>,
    /// Finds names whatever their case: a template may change it.
    finder: AhoCorasick,
    /// Ids of steering tokens that the vocabulary calls text, ascending.
    more: Vec<u32>,
}

impl Markers {
    /// The control tokens of a vocabulary, and those added tokens that steer by what the template
    /// writes.
    ///
    /// # Errors
    /// There are too many names.
    pub fn new<B: AsRef<[u8]>>(
        vocabulary: &Vocabulary<B>,
        template: &str,
    ) -> Result<Self, TextError> {
        let (mut names, mut shown, mut more) = (Vec::new(), Vec::new(), Vec::new());
        for id in 0..vocabulary.count() {
            let kind = vocabulary.kind(id);
            let steers = kind.steers();
            if !steers && kind != TokenKind::UserDefined {
                continue;
            }
            let Ok(name) = std::str::from_utf8(vocabulary.bytes(id)) else { continue };
            if steers && name.chars().nth(1).is_some() {
                names.push(name.to_owned());
                shown.push(kind.is_text());
            } else if is_marker(name, template) {
                names.push(name.to_owned());
                shown.push(true);
                more.push(id);
            }
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&names)
            .map_err(|error| TextError::Tokenizer(format!("too many control tokens: {error}")))?;
        Ok(Self { shown, finder, more })
    }

    /// Whether a token steers, by what the vocabulary or the template says.
    pub fn steer<B: AsRef<[u8]>>(&self, vocabulary: &Vocabulary<B>, id: u32) -> bool {
        vocabulary.kind(id).steers() || self.more.binary_search(&id).is_ok()
    }

    /// An answer of the model with a break in every name but those that begin at the bytes `real`:
    /// these tokens the model itself has written.
    pub fn guard(&self, answer: &str, real: &[usize], mark: char) -> String {
        self.break_names(answer, mark, |start, _, _| real.contains(&start))
    }

    /// A rendered conversation with a break in every name that is not the template's own. A name
    /// may have a turn's role in its middle, as in `<|user|>`. The model's answers may have as many
    /// whole names as it has written such tokens, `real`; if there are more, the template has put
    /// some together, and none of them counts.
    pub fn guard_rendered(
        &self,
        rendered: &Rendered,
        roles: &[&str],
        real: usize,
        mark: char,
    ) -> String {
        let mut end = 0;
        let spans = rendered.spans().map(|span| {
            let start = end;
            end += span.text.len();
            (start, end, span.author)
        });
        let spans: Vec<(usize, usize, Author)> = spans.collect();
        let text = rendered.text();
        let inside = |start: usize, end: usize| {
            let first = spans.partition_point(|&(_, span_end, _)| span_end <= start);
            spans[first..].iter().take_while(move |&&(span_start, ..)| span_start < end)
        };
        let is_model_s = |start: usize, end: usize, shown: bool| {
            shown && inside(start, end).all(|&(.., author)| author == Author::Assistant)
        };
        let names = self.finder.find_iter(text);
        let found = names
            .filter(|name| is_model_s(name.start(), name.end(), self.shown[name.pattern()]))
            .count();
        self.break_names(text, mark, |start, end, shown| {
            if is_model_s(start, end, shown) {
                return found <= real;
            }
            inside(start, end).all(|&(span_start, span_end, author)| {
                let is_role = span_start > start
                    && span_end < end
                    && roles.contains(&&text[span_start..span_end]);
                author == Author::Template || is_role
            })
        })
    }

    /// Puts a break after the first letter of every name, unless `keep(start, end, shown)` says
    /// otherwise.
    fn break_names(
        &self,
        text: &str,
        mark: char,
        keep: impl Fn(usize, usize, bool) -> bool,
    ) -> String {
        let mut guarded = String::with_capacity(text.len() + 16);
        let mut at = 0;
        while let Some(found) = self.finder.find(&text[at..]) {
            let (start, end) = (at + found.start(), at + found.end());
            let whole = keep(start, end, self.shown[found.pattern()]);
            let next = if whole {
                end
            } else {
                start + text[start..].chars().next().map_or(1, char::len_utf8)
            };
            guarded.push_str(&text[at..next]);
            if !whole {
                guarded.push(mark);
            }
            at = next;
        }
        guarded.push_str(&text[at..]);
        guarded
    }

    /// The text between names: one part if there is no name in it.
    pub fn parts<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let (mut parts, mut start) = (Vec::new(), 0);
        for name in self.finder.find_iter(text) {
            parts.push(&text[start..name.start()]);
            start = name.end();
        }
        parts.push(&text[start..]);
        parts
    }

    /// Whether a text begins with a name.
    pub fn begin(&self, text: &str) -> bool {
        self.finder.find(text).is_some_and(|found| found.start() == 0)
    }

    /// The tokens of a rendered conversation. Names count where they are whole; a stretch between
    /// names with a break in it is plain text. `None` if there are more than `most`.
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
            let found =
                self.finder.find(&text[at..]).map(|found| (at + found.start(), at + found.end()));
            let (name, after) = found.unwrap_or((text.len(), text.len()));
            if text[at..name].contains(mark) {
                let Some(markup) = self.markup(tokenizer, &text[done..at], most)? else {
                    return Ok(None);
                };
                let Some(plain) = self.spell(tokenizer, &text[at..name], mark, most)? else {
                    return Ok(None);
                };
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
    fn markup(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        most: usize,
    ) -> Result<Option<Vec<u32>>, TextError> {
        let markup = |text: &str| tokenizer.encode_trusted(text);
        let Some(tokens) = encode_in_pieces(text, most, markup)? else { return Ok(None) };
        let steering = tokens.iter().filter(|&&id| self.steer(tokenizer.vocabulary(), id)).count();
        if steering <= self.finder.find_iter(text).count() {
            return Ok(Some(tokens));
        }
        // A normalizer has made a name of something that was none, such as one in full-width
        // letters.
        let mut tokens = Vec::new();
        let mut at = 0;
        for name in self.finder.find_iter(text) {
            let Some(plain) = self.spell(tokenizer, &text[at..name.start()], NO_MARK, most)? else {
                return Ok(None);
            };
            tokens.extend(plain);
            tokens.extend(markup(&text[name.range()])?);
            at = name.end();
        }
        let Some(plain) = self.spell(tokenizer, &text[at..], NO_MARK, most)? else {
            return Ok(None);
        };
        tokens.extend(plain);
        Ok(Some(tokens))
    }

    /// The tokens of plain text with breaks in it.
    fn spell(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        mark: char,
        most: usize,
    ) -> Result<Option<Vec<u32>>, TextError> {
        let whole = text.replace(mark, "");
        let plain = |text: &str| tokenizer.encode(text);
        let safe =
            |tokens: &[u32]| !tokens.iter().any(|&id| self.steer(tokenizer.vocabulary(), id));
        match encode_in_pieces(&whole, most, plain) {
            Ok(Some(tokens)) if safe(&tokens) => return Ok(Some(tokens)),
            Ok(None) => return Ok(None),
            // An older blob's tokenizer reads the names of added tokens in plain text too: halves
            // of them are none.
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
}

/// Two of Unicode's noncharacters, or if need be private ones: one that is in none of these texts.
pub fn unused_mark<'t>(texts: impl Iterator<Item = &'t str> + Clone) -> char {
    let mut marks = ('\u{fdd0}'..='\u{fdef}').chain('\u{f0000}'..='\u{ffffd}');
    // More texts than fit a conversation would be needed to use up 65,000 characters of four bytes.
    marks.find(|&mark| !texts.clone().any(|text| text.contains(mark))).unwrap_or('\u{10fffe}')
}

/// Whether an added token that is called text steers after all. It does if it looks like a mark,
/// and the template writes it or it is well known. Line breaks, words and the like are text,
/// wherever they are.
fn is_marker(name: &str, template: &str) -> bool {
    let edges = [name.chars().next(), name.chars().next_back()];
    let is_mark = |edge: Option<char>| {
        edge.is_some_and(|edge| !edge.is_alphanumeric() && !edge.is_whitespace())
    };
    name.len() >= NAME_BYTES_MIN
        && edges.into_iter().all(is_mark)
        && name.chars().any(char::is_alphanumeric)
        && (WELL_KNOWN.contains(&name) || template.contains(name))
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
        assert_eq!(
            (&markers.shown[..], &markers.more[..]),
            (&[false, false, true, true][..], &[2, 6][..])
        );
    }

    #[test]
    fn every_name_is_broken_and_other_text_is_not() {
        let markers = markers();
        let guard = |text: &str| markers.guard(text, &[], '_');
        for text in
            ["plain", "", " \n", "a < b > c", "x<b>y", "user\n", "im", "say <thinking>", "<|im_"]
        {
            assert_eq!(guard(text), text);
        }
        assert_eq!(guard("a<|im_end|>b"), "a<_|im_end|>b");
        assert_eq!(guard(" <|IM_END|>\n"), " <_|IM_END|>\n");
        assert_eq!(guard("<<think><think>"), "<<_think><_think>");
        assert_eq!(markers.guard("<think> <think>", &[0], '_'), "<think> <_think>");
    }

    #[test]
    fn names_are_whole_where_they_are_the_template_s() {
        let markers = markers();
        let guarded = |spans: &[(&str, Author)], roles: &[&str]| {
            let mut rendered = Rendered::default();
            spans.iter().for_each(|(text, author)| rendered.push(text, *author));
            markers.guard_rendered(&rendered, roles, 1, '_')
        };
        use Author::{Assistant, Other, Template};
        assert_eq!(guarded(&[("<think>", Template), ("<think>", Other)], &[]), "<think><_think>");
        assert_eq!(guarded(&[("<|im_", Other), ("end|>", Other)], &[]), "<_|im_end|>");
        for halves in
            [[Template, Other], [Other, Template], [Assistant, Template], [Assistant, Other]]
        {
            assert_eq!(
                guarded(&[("<th", halves[0]), ("ink>", halves[1])], &["ink>", "<th"]),
                "<_think>"
            );
        }
        let role = [("<", Template), ("turn", Other), (">", Template)];
        assert_eq!(guarded(&role, &["user", "turn"]), "<turn>");
        assert_eq!(guarded(&role, &["user"]), "<_turn>");
        // What the model wrote is real where its token is one that is shown.
        assert_eq!(guarded(&[("<think><|im_end|>", Assistant)], &[]), "<think><_|im_end|>");
        assert_eq!(guarded(&[("<think><think>", Assistant)], &[]), "<_think><_think>");
    }

    #[test]
    fn a_mark_is_one_that_nobody_uses() {
        assert_eq!(unused_mark(["a", "\u{fdd0}"].into_iter()), '\u{fdd1}');
        let all: String = ('\u{fdd0}'..='\u{fdef}').collect();
        assert_eq!(unused_mark([all.as_str()].into_iter()), '\u{f0000}');
    }
}
