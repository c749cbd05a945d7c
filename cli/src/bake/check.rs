//! The self-check of a bake: what a conversation needs is tried on the blob's text before any
//! weight is read.
//!
//! The template is rendered, and its own words are held against the vocabulary: a name of a token
//! must come out as that token, and never from what somebody types. Texts and single tokens go
//! through the tokenizer and must come back.

use std::cell::RefCell;
use std::collections::BTreeSet;

use hardtack::format::vocabulary::TokenKind;
use hardtack::text::{
    Author, ChatTemplate, Message, Opening, RenderInput, Rendered, Stops, TextMarks, TextStream,
    Tokenizer,
};
use hardtack_converter::Baked;
use hardtack_converter::vocabulary::TextSections;

/// Single tokens that are tried, spread over the vocabulary.
const TOKENS_TRIED: usize = 2000;
/// Of the words among them, this share must come out as themselves: with lost merges it is none,
/// with the right tokenizer nearly all.
const SHARE_MIN: f64 = 0.5;
/// Texts of many scripts, in Unicode's form C.
const TEXTS: [&str; 16] = [
    "Hello, world!",
    "The quick brown fox jumps over 13 lazy dogs.",
    "def f(x):\n    return {\"a\": [1, 2.5, -3e8]}  # done\n",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "Portez ce vieux whisky au juge blond qui fume, n'est-ce pas ?",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "我能吞下玻璃而不伤身体。",
    "いろはにほへと、ちりぬるを。カタカナもある。",
    "다람쥐 헌 쳇바퀴에 타고파.",
    "نص حكيم له سر قاطع وذو شأن عظيم",
    "דג סקרן שט בים מאוכזב",
    "ऋषियों को सताने वाले दुष्ट राक्षसों का राजा",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "😀 👍🏽 🇺🇳 → ∑ ½ €",
];

/// What was tried on a blob's text.
#[derive(Clone, Debug, Default)]
struct Tried {
    renderings: usize,
    markers: usize,
    ends: usize,
    round_trips: usize,
    /// Marks of turns that are plain text.
    text_marks: Vec<String>,
    /// Whether some turns end without any mark.
    has_bare_ends: bool,
}

impl Tried {
    /// What the template's turns are marked by, where anybody can type it.
    fn typed(&self) -> String {
        const SHOWN_MAX: usize = 4;
        let shown: Vec<String> =
            self.text_marks.iter().take(SHOWN_MAX).map(|mark| escaped(mark)).collect();
        let more = if self.text_marks.len() > SHOWN_MAX { ", ..." } else { "" };
        match (shown.is_empty(), self.has_bare_ends) {
            (_, true) => ", turns end without a mark, so that anybody can forge one".to_owned(),
            (false, false) => format!(
                ", turns marked by plain text ({}{more}), which gets a space where somebody types it",
                shown.join(", ")
            ),
            (true, false) => String::new(),
        }
    }
}

fn escaped(mark: &str) -> String {
    format!("`{}`", mark.escape_debug())
}

/// A check that remembers what it has tried.
#[derive(Debug, Default)]
pub struct Check {
    tried: RefCell<Option<Tried>>,
}

impl Check {
    /// Tries the text; what would break a conversation goes to its problems, what else a person
    /// should know to its warnings.
    pub fn review(&self, text: &mut TextSections) {
        let mut tokenizer = open(text);
        let marked = tokenizer.as_ref().and_then(|tokenizer| mark_written(tokenizer, text));
        if marked.is_some_and(|marked| marked > 0) {
            tokenizer = open(text);
        }
        if let Some(tokenizer) = tokenizer {
            *self.tried.borrow_mut() = Some(try_text(&tokenizer, text));
        }
    }

    /// What was tried and found right, in a line.
    pub fn line(&self, baked: &Baked) -> String {
        let tensors = baked.tensors;
        let left_out: usize = baked.left_out.iter().map(|kind| kind.count).sum();
        let tensors = format!("{} of {} tensors", grouped(tensors), grouped(tensors + left_out));
        match &*self.tried.borrow() {
            None => format!("check: no text, {tensors}"),
            Some(tried) => {
                let template = match tried.renderings {
                    0 => "no template".to_owned(),
                    renderings => {
                        format!(
                            "template {}, {}{}",
                            counted(renderings, "rendering"),
                            counted(tried.markers, "marker"),
                            tried.typed()
                        )
                    }
                };
                let ends = counted(tried.ends, "end token");
                format!(
                    "check: {template}, {ends}, tokenizer {} round trips, {tensors}",
                    grouped(tried.round_trips)
                )
            }
        }
    }
}

/// The tokenizer of a blob's text; one that cannot be used is a problem.
fn open(text: &mut TextSections) -> Option<Tokenizer> {
    let tokenizer = Tokenizer::from_sections(text.tokenizer.as_ref()?, text.vocabulary.as_ref()?);
    tokenizer.map_err(|error| text.problems.push(error.to_string())).ok()
}

/// Makes markers of added tokens that the template puts together, such as `'<|' + message.role +
/// '|>'`, so that its source alone does not show them. Returns how many.
fn mark_written(tokenizer: &Tokenizer, text: &mut TextSections) -> Option<usize> {
    let template =
        ChatTemplate::from_section(text.template.as_ref()?.as_bytes(), tokenizer.vocabulary())
            .ok()?;
    let turns = turns();
    let rendered = [&turns[1..2], &turns[..], &turns[1..3]]
        .map(|turns| template.render(&RenderInput::new(turns)));
    let words: Vec<String> = rendered.iter().flatten().flat_map(own_words).collect();
    let ids = words.iter().filter_map(|part| tokenizer.encode_trusted(part).ok());
    let written: BTreeSet<u32> = ids.flatten().collect();
    text.mark(&written.into_iter().collect::<Vec<_>>()).ok()
}

/// A system prompt, a question, an answer and a question, each with a word of its own.
fn turns() -> [Message; 4] {
    [("system", "sun"), ("user", "moon"), ("assistant", "star"), ("user", "comet")]
        .map(|(role, content)| Message::new(role, content))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A number with commas between thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn try_text(tokenizer: &Tokenizer, text: &mut TextSections) -> Tried {
    let mut tried = Tried { ends: tokenizer.vocabulary().rules().ends.len(), ..Tried::default() };
    tried.round_trips = try_tokenizer(tokenizer, text);
    if let Some(template) = text.template.clone() {
        match ChatTemplate::from_section(template.as_bytes(), tokenizer.vocabulary()) {
            Ok(template) => try_template(&template, tokenizer, text, &mut tried),
            Err(error) => text.problems.push(error.to_string()),
        }
    }
    tried
}

/// Sends texts and single tokens through the tokenizer; returns how many came back.
fn try_tokenizer(tokenizer: &Tokenizer, text: &mut TextSections) -> usize {
    let returns =
        |text: &str| tokenizer.encode(text).is_ok_and(|ids| decoded(tokenizer, &ids) == text);
    let mut back = 0;
    let lost: Vec<&str> = TEXTS.into_iter().filter(|text| !returns(text)).collect();
    back += TEXTS.len() - lost.len();
    match lost.first() {
        Some(first) if first.is_ascii() => {
            text.problems.push(format!("the tokenizer does not return {:?}", shortened(first)));
        }
        Some(first) => text.warnings.push(format!(
            "the tokenizer does not return {} of {} texts of many scripts whole, such as {:?}",
            lost.len(),
            TEXTS.len(),
            shortened(first)
        )),
        None => {}
    }

    let (mut words, mut whole) = (0_usize, 0_usize);
    let vocabulary = tokenizer.vocabulary();
    let step = (vocabulary.count() as usize).div_ceil(TOKENS_TRIED).max(1);
    for id in (0..vocabulary.count()).step_by(step) {
        let Ok(token) = std::str::from_utf8(vocabulary.bytes(id)) else { continue };
        if vocabulary.kind(id) != TokenKind::Normal || token.is_empty() {
            continue;
        }
        back += usize::from(returns(token));
        if token.chars().nth(1).is_some() {
            words += 1;
            // A tokenizer that puts a space before a text finds `▁word` in `word`, or the space as
            // a token of its own.
            let trimmed = token.strip_prefix(' ').unwrap_or(token);
            let is_space = |id: &u32| tokenizer.bytes(*id).iter().all(u8::is_ascii_whitespace);
            let is_whole = |text: &str| {
                tokenizer.encode(text).is_ok_and(|ids| {
                    ids.split_last()
                        .is_some_and(|(last, before)| *last == id && before.iter().all(is_space))
                })
            };
            whole += usize::from(is_whole(token) || is_whole(trimmed));
        }
    }
    if (whole as f64) < SHARE_MIN * words as f64 {
        text.problems.push(format!(
            "of {words} words of the vocabulary only {whole} are encoded as themselves: merges or pre-tokenizer are not \
             the model's"
        ));
    }
    back
}

/// Text from ids, as a conversation shows it.
fn decoded(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut stream = TextStream::new(tokenizer.vocabulary(), Opening::Text, Stops::default());
    let mut text: String = ids.iter().map(|&id| stream.push(id).text.to_owned()).collect();
    text.push_str(stream.finish().text);
    text
}

fn shortened(text: &str) -> String {
    text.chars().take(24).collect()
}

/// Renders one and two turns, with and without a system prompt, and holds the template's own words
/// against the vocabulary.
fn try_template(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    text: &mut TextSections,
    tried: &mut Tried,
) {
    let [system, first, answer, second] = turns();
    let one = vec![first.clone()];
    let two = vec![first, answer, second];
    let with_system = |turns: &[Message]| [std::slice::from_ref(&system), turns].concat();
    let mut rendered = Vec::new();
    for (turns, has_system) in [
        (one.clone(), false),
        (with_system(&one), true),
        (two.clone(), false),
        (with_system(&two), true),
    ] {
        match template.render(&RenderInput::new(&turns)) {
            Ok(text) => rendered.push(text),
            // Some templates have no place for a system prompt and say so.
            Err(error) if has_system && !rendered.is_empty() => {
                let line = format!("the chat template takes no system prompt: {error}");
                if !text.warnings.contains(&line) {
                    text.warnings.push(line);
                }
            }
            Err(error) => text
                .problems
                .push(format!("{} of a conversation: {error}", counted(turns.len(), "turn"))),
        }
    }
    tried.renderings = rendered.len();
    if let Ok(marks) = TextMarks::new(template, tokenizer) {
        tried.text_marks = marks.list().to_vec();
        tried.has_bare_ends = marks.has_bare_ends();
    }
    let says = |rendered: &Rendered| {
        rendered.spans().any(|span| span.author == Author::Other && span.text.contains("moon"))
    };
    if !rendered.iter().all(says) {
        text.problems.push("the chat template leaves out what the user says".to_owned());
    }
    // What follows an answer that is the last turn, such as gpt-oss's `<|return|>`.
    rendered.extend(template.render(&RenderInput::new(&two[..2]).generation_prompt(false)));

    let words: BTreeSet<String> = rendered.iter().flat_map(own_words).collect();
    for part in &words {
        if let Err(error) = tokenizer.encode_trusted(part) {
            text.problems.push(format!("the chat template's words cannot be encoded: {error}"));
        }
    }
    for (id, name) in steering_names(tokenizer) {
        if words.iter().any(|part| part.contains(&name)) {
            tried.markers += 1;
            try_marker(tokenizer, id, &name, text);
        }
    }
    try_end(&rendered, tokenizer, text);
}

/// The template's own words in a rendered conversation, in pieces between what was said.
fn own_words(rendered: &Rendered) -> Vec<String> {
    let mut pieces = rendered.template_pieces();
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Tokens that are more than words, by name.
fn steering_names(tokenizer: &Tokenizer) -> Vec<(u32, String)> {
    let vocabulary = tokenizer.vocabulary();
    let steering = (0..vocabulary.count()).filter(|&id| vocabulary.kind(id).steers());
    let named = steering
        .filter_map(|id| Some((id, std::str::from_utf8(vocabulary.bytes(id)).ok()?.to_owned())));
    named.filter(|(_, name)| !name.is_empty()).collect()
}

/// A name that the template writes must come out as its token there, and nowhere else.
fn try_marker(tokenizer: &Tokenizer, id: u32, name: &str, text: &mut TextSections) {
    let shown = name.escape_debug();
    match tokenizer.encode_trusted(name) {
        Ok(ids) if ids == [id] => {}
        Ok(ids) => text.problems.push(format!(
            "the chat template writes `{shown}`, token {id}, which is read as {}",
            match ids[..] {
                [other] => format!("token {other}"),
                _ => format!("{} tokens", ids.len()),
            }
        )),
        Err(error) => text.problems.push(format!("the chat template writes `{shown}`: {error}")),
    }
    // The tokenizer refuses to give a token that steers for plain text.
    if let Err(error) = tokenizer.encode(name) {
        text.problems.push(format!("whoever types `{shown}` could forge a turn: {error}"));
    }
}

/// After an answer the template must write what ends one, or the model was not taught to stop.
fn try_end(rendered: &[Rendered], tokenizer: &Tokenizer, text: &mut TextSections) {
    let is_end = |part: &str| {
        tokenizer
            .encode_trusted(part)
            .is_ok_and(|ids| ids.into_iter().any(|id| tokenizer.is_end(id)))
    };
    let after_answers: Vec<&str> = rendered.iter().filter_map(after_answer).collect();
    if after_answers.is_empty() || after_answers.iter().any(|part| is_end(part)) {
        return;
    }
    let mark = after_answers.iter().find_map(|part| mark_in(part));
    match mark {
        Some(mark) => text.problems.push(format!(
            "the chat template ends an answer with `{}`, which is no end token: answers would not stop",
            mark.escape_debug()
        )),
        None => {
            text.warnings.push("the chat template ends an answer with no token: stop strings may be needed".to_owned())
        }
    }
}

/// The template's words right after the answer.
fn after_answer(rendered: &Rendered) -> Option<&str> {
    let is_answer =
        |text: &str, author: Author| author == Author::Assistant && text.contains("star");
    let mut spans = rendered.spans().skip_while(|span| !is_answer(span.text, span.author)).skip(1);
    spans.next().filter(|span| span.author == Author::Template).map(|span| span.text)
}

/// The first word that is written like a mark: `<|...|>`, `</s>`, `[/INST]`.
fn mark_in(text: &str) -> Option<&str> {
    let start = text.find(['<', '['])?;
    let close = if text[start..].starts_with('<') { '>' } else { ']' };
    let end = start + text[start..].find(close)? + close.len_utf8();
    let mark = &text[start..end];
    (mark.len() > 2 && !mark.contains(char::is_whitespace)).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_marks_are_found_and_written() {
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), shown);
        }
        assert_eq!(mark_in("\n<|im_end|>\n<x>"), Some("<|im_end|>"));
        assert_eq!(mark_in(" [/INST] "), Some("[/INST]"));
        for none in ["", "\n\nUser: ", "<", "a < b and c > d", "<>"] {
            assert_eq!(mark_in(none), None, "{none}");
        }
    }
}
