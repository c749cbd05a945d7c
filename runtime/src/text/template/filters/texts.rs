//! Filters of texts. What is no text is written as one first.

use crate::text::template::chars::{self, Ch, is_space};
use crate::text::template::given::Given;
use crate::text::template::heap::{Draft, Heap, Outcome, failed};
use crate::text::template::value::{Value, View};
use crate::text::template::{markup, methods, percent, print, sequence};

pub(super) fn filter(heap: &Heap<'_>, name: &str, value: &Value, given: Given) -> Outcome<Value> {
    match name {
        "indent" => return indent(heap, value.defined()?.text(name)?, given),
        "truncate" => return truncate(heap, value, given),
        "safe" => {
            given.none(name)?;
            return heap.markup(&print::text(heap, value)?);
        }
        "escape" | "e" if matches!(value, Value::Text(text) if text.is_markup()) => {
            given.none(name)?;
            return Ok(value.clone());
        }
        _ => {}
    }
    let text = print::text(heap, value)?;
    let made = match name {
        "replace" => {
            let [old, new, count] = given.bind(name, ["old", "new", "count"], 2)?;
            let (old, new) = (old.unwrap_or(Value::None), new.unwrap_or(Value::None));
            let (old, new) = (print::text(heap, &old)?, print::text(heap, &new)?);
            let count = match count {
                None | Some(Value::None) => -1,
                Some(count) => count.integer(name)?,
            };
            return methods::replaced(heap, &text, &old, &new, count);
        }
        "trim" => {
            let [set] = given.bind(name, ["chars"], 0)?;
            match set {
                None | Some(Value::None) => chars::trimmed(&text, is_space, true, true).to_vec(),
                Some(set) => {
                    let set = set.text(name)?;
                    heap.work(set.len().saturating_mul(text.len()) / 8)?;
                    chars::trimmed(&text, |ch| set.contains(&ch), true, true).to_vec()
                }
            }
        }
        "center" => {
            let [width] = given.bind(name, ["width"], 0)?;
            let width = width.map_or(Ok(80), |width| width.integer(name))?;
            methods::centered(
                heap,
                &text,
                usize::try_from(width.max(0)).unwrap_or(usize::MAX),
                Ch::own(' '),
            )?
        }
        "format" => {
            let Given { positional, named } = given;
            if !positional.is_empty() && !named.is_empty() {
                return failed("can't handle positional and keyword arguments at the same time");
            }
            let values = if named.is_empty() {
                heap.tuple(positional)?
            } else {
                let pair = |(name, value): (std::rc::Rc<str>, Value)| Ok((heap.own(&name)?, value));
                heap.dict(named.into_iter().map(pair).collect::<Outcome<_>>()?)?
            };
            return percent::format(heap, &text, &values);
        }
        "title" => {
            given.none(name)?;
            heap.work(text.len() * 4)?;
            title(&text)
        }
        "wordcount" => {
            given.none(name)?;
            let is_word = |ch: &Ch| ch.get() == '_' || ch.get().is_alphanumeric();
            let words = text.split(|ch| !is_word(ch)).filter(|word| !word.is_empty());
            return Ok(Value::Integer(words.count() as i128));
        }
        "urlencode" => {
            given.none(name)?;
            url_encoded(heap, value, &text)?
        }
        other => {
            given.none(other)?;
            heap.work(text.len() * 4)?;
            match other {
                "upper" => chars::upper(&text),
                "lower" => chars::lower(&text),
                "capitalize" => super::capitalized(&text),
                _ => return heap.markup(&markup::escaped(heap, &text)?),
            }
        }
    };
    heap.value(&made)
}

fn indent(heap: &Heap<'_>, text: &[Ch], given: Given) -> Outcome<Value> {
    let [width, first, blank] = given.bind("indent", ["width", "first", "blank"], 0)?;
    let margin = match width {
        Some(Value::Text(text)) => text,
        width => {
            let width = width.map_or(Ok(4), |width| width.integer("indent"))?;
            let mut draft = Draft::new(heap)?;
            draft.many(Ch::own(' '), usize::try_from(width.max(0)).unwrap_or(usize::MAX))?;
            heap.text(draft.characters())?
        }
    };
    let is_true = |option: Option<Value>| option.is_some_and(|option| option.is_true());
    let (first, blank) = (is_true(first), is_true(blank));
    // With a line end put after it, a text that ends with one has an empty last line.
    let text: Vec<Ch> = text.iter().copied().chain([Ch::own('\n')]).collect();
    let mut draft = Draft::new(heap)?;
    for (index, line) in methods::lines(&text, false).into_iter().enumerate() {
        if index > 0 {
            draft.one(Ch::own('\n'))?;
        }
        if if index == 0 { first } else { blank || !line.is_empty() } {
            draft.push(&margin)?;
        }
        draft.push(line)?;
    }
    draft.value()
}

fn truncate(heap: &Heap<'_>, value: &Value, given: Given) -> Outcome<Value> {
    let [length, kill_words, end, leeway] =
        given.bind("truncate", ["length", "killwords", "end", "leeway"], 0)?;
    let number = |value: Option<Value>, default: usize| match value {
        None | Some(Value::None) => Ok(default),
        Some(value) => {
            let number = value.integer("truncate")?;
            usize::try_from(number)
                .or_else(|_| failed(format_args!("truncate: expected a length, got {number}")))
        }
    };
    let (length, leeway) = (number(length, 255)?, number(leeway, 5)?);
    let end = match end {
        None => heap.own_text("...")?,
        Some(end) => end.text("truncate")?.clone(),
    };
    if length < end.len() {
        return failed(format_args!("expected length >= {}, got {length}", end.len()));
    }
    // Whatever has a length and is short enough stays what it is.
    if sequence::length(value)? <= length.saturating_add(leeway) {
        return Ok(value.clone());
    }
    let text = value.text("truncate")?;
    let mut kept = &text[..length - end.len()];
    if !kill_words.is_some_and(|kill| kill.is_true()) {
        kept = kept.iter().rposition(|ch| ch.is(' ')).map_or(kept, |at| &kept[..at]);
    }
    heap.room(kept.len() + end.len())?;
    heap.value(&kept.iter().chain(end.iter()).copied().collect::<Vec<_>>())
}

/// Every word with a capital letter, where words begin after spaces, hyphens and opening brackets.
fn title(text: &[Ch]) -> Vec<Ch> {
    let separates = |ch: &Ch| is_space(*ch) || ['-', '(', '{', '[', '<'].contains(&ch.get());
    let mut made = Vec::with_capacity(text.len());
    for item in text.chunk_by(|one, other| separates(one) == separates(other)) {
        let (first, rest) = item.split_at(1);
        made.extend(chars::upper(first));
        made.extend(chars::lower(rest));
    }
    made
}

fn url_encoded(heap: &Heap<'_>, value: &Value, text: &[Ch]) -> Outcome<Vec<Ch>> {
    let quoted = |text: &[Ch], in_query: bool| -> Outcome<Vec<Ch>> {
        // A character of four bytes becomes twelve.
        heap.room(text.len() * 12)?;
        let quote = |ch: &Ch| match ch.get() {
            ' ' if in_query => "+".to_owned(),
            '/' if !in_query => "/".to_owned(),
            plain if plain.is_ascii_alphanumeric() || "_.-~".contains(plain) => plain.to_string(),
            other => {
                other.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")).collect()
            }
        };
        let replaced =
            |ch: &Ch| chars::own(&quote(ch)).map(|own| ch.replaced(own.get())).collect::<Vec<_>>();
        Ok(text.iter().flat_map(replaced).collect())
    };
    if matches!(value, Value::Text(_)) || !is_iterable(value) {
        return quoted(text, false);
    }
    let pairs = match value {
        Value::Dict(pairs) => Value::View(View::Items, pairs.clone()),
        other => other.clone(),
    };
    let mut draft = Draft::new(heap)?;
    for (index, pair) in sequence::items(heap, &pairs)?.iter().enumerate() {
        let pair = sequence::items(heap, pair)?;
        let [key, value] = &pair[..] else {
            return failed("urlencode: expected pairs of a name and a value");
        };
        draft.own(if index > 0 { "&" } else { "" })?;
        draft.push(&quoted(&print::text(heap, key)?, true)?)?;
        draft.own("=")?;
        draft.push(&quoted(&print::text(heap, value)?, true)?)?;
    }
    Ok(draft.characters().to_vec())
}

fn is_iterable(value: &Value) -> bool {
    use Value::{Dict, Iterator, List, Range, Tuple, View};
    matches!(value, Dict(_) | Iterator(_) | List(_) | Range(_) | Tuple(_) | View(..))
}
