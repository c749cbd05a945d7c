//! Methods of texts: finding, cutting, putting together.

use crate::text::template::chars::{self, Ch, is_space};
use crate::text::template::compare::{self, find_text, find_text_last};
use crate::text::template::given::Given;
use crate::text::template::heap::{Draft, Heap, Outcome, failed};
use crate::text::template::methods::containers::bounds;
use crate::text::template::methods::{format, letters};
use crate::text::template::sequence;
use crate::text::template::value::{Text, Value};

pub(super) fn call(heap: &Heap<'_>, text: &Text, name: &str, given: Given) -> Outcome<Value> {
    heap.work(text.len())?;
    match name {
        "split" | "rsplit" => split(heap, text, name, given),
        "strip" | "lstrip" | "rstrip" => {
            let [set] = given.bind(name, ["/chars"], 0)?;
            strip(heap, text, set, name != "rstrip", name != "lstrip")
        }
        "startswith" | "endswith" => begins(heap, text, name, given),
        "find" | "rfind" | "index" | "rindex" | "count" => find(heap, text, name, given),
        "replace" => {
            let [old, new, count] = given.bind(name, ["/old", "/new", "count"], 2)?;
            let (old, new) = (old.unwrap_or(Value::None), new.unwrap_or(Value::None));
            let count = count.map_or(Ok(-1), |count| count.integer(name))?;
            replaced(heap, text, old.text(name)?, new.text(name)?, count)
        }
        "join" => {
            let [items] = given.bind(name, ["/iterable"], 1)?;
            join(heap, text, &items.unwrap_or(Value::None))
        }
        "partition" | "rpartition" => {
            let [separator] = given.bind(name, ["/sep"], 1)?;
            partition(
                heap,
                text,
                separator.unwrap_or(Value::None).text(name)?,
                name == "rpartition",
            )
        }
        "removeprefix" => {
            let [prefix] = given.bind(name, ["/prefix"], 1)?;
            let prefix = prefix.unwrap_or(Value::None);
            heap.value(text.strip_prefix(&prefix.text(name)?[..]).unwrap_or(text))
        }
        "removesuffix" => {
            let [suffix] = given.bind(name, ["/suffix"], 1)?;
            let suffix = suffix.unwrap_or(Value::None);
            heap.value(text.strip_suffix(&suffix.text(name)?[..]).unwrap_or(text))
        }
        "splitlines" => {
            let [keep] = given.bind(name, ["keepends"], 0)?;
            heap.texts(lines(text, keep.is_some_and(|keep| keep.is_true())))
        }
        "format" => format::format(heap, text, &given),
        "format_map" => {
            let [map] = given.bind(name, ["/mapping"], 1)?;
            format::format_map(heap, text, &map.unwrap_or(Value::None))
        }
        "maketrans" => make_translation(heap, given),
        "translate" => {
            let [table] = given.bind(name, ["/table"], 1)?;
            translate(heap, text, &table.unwrap_or(Value::None))
        }
        "center" | "ljust" | "rjust" | "zfill" | "expandtabs" => pad(heap, text, name, given),
        other => {
            given.none(other)?;
            // Cases and kinds of letters are looked up in tables.
            heap.work(text.len() * 4)?;
            let made = match other {
                "upper" => chars::upper(text),
                "lower" => chars::lower(text),
                "title" => letters::title(text),
                "capitalize" => letters::capitalized(text),
                "swapcase" => letters::swapped(text),
                "casefold" => letters::folded(text),
                test => return Ok(Value::Bool(letters::is_all(text, test))),
            };
            heap.value(&made)
        }
    }
}

fn pad(heap: &Heap<'_>, text: &[Ch], name: &str, given: Given) -> Outcome<Value> {
    let made = match name {
        "expandtabs" => {
            let [size] = given.bind(name, ["tabsize"], 0)?;
            return letters::untabbed(heap, text, size.map_or(Ok(8), |size| width(&size, name))?);
        }
        "zfill" => {
            let [size] = given.bind(name, ["/width"], 1)?;
            letters::zero_filled(heap, text, width(&size.unwrap_or(Value::None), name)?)?
        }
        _ => {
            let [size, fill] = given.bind(name, ["/width", "/fillchar"], 1)?;
            let size = width(&size.unwrap_or(Value::None), name)?;
            let fill = match fill {
                None => Ch::own(' '),
                Some(fill) => match fill.text(name)?[..] {
                    [fill] => fill,
                    _ => return failed("The fill character must be exactly one character long"),
                },
            };
            match name {
                "center" => letters::centered(heap, text, size, fill)?,
                "ljust" => letters::justified(heap, text, size, fill, '<')?,
                _ => letters::justified(heap, text, size, fill, '>')?,
            }
        }
    };
    heap.value(&made)
}

fn width(value: &Value, name: &str) -> Outcome<usize> {
    Ok(usize::try_from(value.defined()?.integer(name)?.max(0)).unwrap_or(usize::MAX))
}

fn split(heap: &Heap<'_>, text: &[Ch], name: &str, given: Given) -> Outcome<Value> {
    let [separator, most] = given.bind(name, ["sep", "maxsplit"], 0)?;
    let most = most.map_or(Ok(-1), |most| most.integer(name))?;
    let mut most = usize::try_from(most).unwrap_or(usize::MAX);
    let from_right = name == "rsplit";
    let mut parts: Vec<&[Ch]> = Vec::new();
    let mut rest = text;
    match separator {
        None | Some(Value::None) => {
            rest = chars::trimmed(rest, is_space, !from_right, from_right);
            while !rest.is_empty() && most > 0 {
                let cut = |ch: &Ch| is_space(*ch);
                let found =
                    if from_right { rest.iter().rposition(cut) } else { rest.iter().position(cut) };
                let Some(at) = found else { break };
                let (left, right) = (&rest[..at], &rest[at + 1..]);
                parts.push(if from_right { right } else { left });
                rest = chars::trimmed(
                    if from_right { left } else { right },
                    is_space,
                    !from_right,
                    from_right,
                );
                most -= 1;
            }
            if !rest.is_empty() {
                parts.push(rest);
            }
        }
        Some(separator) => {
            let separator = separator.text(name)?;
            if separator.is_empty() {
                return failed("empty separator");
            }
            while most > 0 {
                let found = match from_right {
                    true => find_text_last(heap, rest, separator)?,
                    false => find_text(heap, rest, separator, 0)?,
                };
                let Some(at) = found else { break };
                let (left, right) = (&rest[..at], &rest[at + separator.len()..]);
                parts.push(if from_right { right } else { left });
                rest = if from_right { left } else { right };
                most -= 1;
            }
            parts.push(rest);
        }
    }
    if from_right {
        parts.reverse();
    }
    heap.texts(parts)
}

fn strip(
    heap: &Heap<'_>,
    text: &[Ch],
    set: Option<Value>,
    left: bool,
    right: bool,
) -> Outcome<Value> {
    let stripped = match set {
        None | Some(Value::None) => chars::trimmed(text, is_space, left, right),
        Some(set) => {
            let set = set.text("strip")?;
            heap.work(set.len().saturating_mul(text.len()) / 8)?;
            chars::trimmed(text, |ch| set.contains(&ch), left, right)
        }
    };
    heap.value(stripped)
}

fn begins(heap: &Heap<'_>, text: &[Ch], name: &str, given: Given) -> Outcome<Value> {
    let [affix, start, stop] = given.bind(name, ["/prefix", "/start", "/end"], 1)?;
    let affix = affix.unwrap_or(Value::None);
    let (start, stop) = bounds(start, stop, text.len())?;
    let part = (start <= stop).then(|| &text[start..stop]);
    let fits = |affix: &Value| -> Outcome<bool> {
        let affix = affix.text(name)?;
        heap.work(affix.len())?;
        Ok(part.is_some_and(|part| match name {
            "startswith" => part.starts_with(affix),
            _ => part.ends_with(affix),
        }))
    };
    let found = match &affix {
        Value::Tuple(several) => {
            let mut found = false;
            for affix in several.iter() {
                found = found || fits(affix)?;
            }
            found
        }
        one => fits(one)?,
    };
    Ok(Value::Bool(found))
}

fn find(heap: &Heap<'_>, text: &[Ch], name: &str, given: Given) -> Outcome<Value> {
    let [part, start, stop] = given.bind(name, ["/sub", "/start", "/end"], 1)?;
    let part = part.unwrap_or(Value::None);
    let part = part.text(name)?;
    let (start, stop) = bounds(start, stop, text.len())?;
    let within = if start <= stop { Some(&text[start..stop]) } else { None };
    let Some(within) = within else {
        return match name {
            "count" => Ok(Value::Integer(0)),
            "find" | "rfind" => Ok(Value::Integer(-1)),
            _ => failed("substring not found"),
        };
    };
    let found = match name {
        "count" if part.is_empty() => return Ok(Value::Integer(within.len() as i128 + 1)),
        "count" => {
            let (mut count, mut at) = (0, 0);
            while let Some(found) = find_text(heap, within, part, at)? {
                (count, at) = (count + 1, found + part.len());
            }
            return Ok(Value::Integer(count));
        }
        "find" | "index" => find_text(heap, within, part, 0)?,
        _ => find_text_last(heap, within, part)?,
    };
    match found {
        Some(at) => Ok(Value::Integer((start + at) as i128)),
        None if name.ends_with("find") => Ok(Value::Integer(-1)),
        None => failed("substring not found"),
    }
}

/// `text.replace(old, new, count)`; all of them if the count is negative.
pub(in crate::text::template) fn replaced(
    heap: &Heap<'_>,
    text: &[Ch],
    old: &[Ch],
    new: &[Ch],
    count: i128,
) -> Outcome<Value> {
    let mut left = usize::try_from(count).unwrap_or(usize::MAX);
    let mut draft = Draft::new(heap)?;
    let mut rest = 0;
    if old.is_empty() {
        while left > 0 && rest < text.len() {
            draft.push(new)?;
            draft.one(text[rest])?;
            (left, rest) = (left - 1, rest + 1);
        }
        if left > 0 {
            draft.push(new)?;
        }
    } else {
        while left > 0
            && let Some(at) = find_text(heap, text, old, rest)?
        {
            draft.push(&text[rest..at])?;
            draft.push(new)?;
            (left, rest) = (left - 1, at + old.len());
        }
    }
    draft.push(&text[rest..])?;
    draft.value()
}

fn join(heap: &Heap<'_>, separator: &[Ch], items: &Value) -> Outcome<Value> {
    let mut draft = Draft::new(heap)?;
    for (index, item) in sequence::items(heap, items)?.iter().enumerate() {
        let Value::Text(item) = item else {
            let found = item.described();
            return failed(format_args!(
                "sequence item {index}: expected str instance, {found} found"
            ));
        };
        draft.push(if index > 0 { separator } else { &[] })?;
        draft.push(item)?;
    }
    draft.value()
}

fn partition(heap: &Heap<'_>, text: &[Ch], separator: &[Ch], last: bool) -> Outcome<Value> {
    if separator.is_empty() {
        return failed("empty separator");
    }
    let found = if last {
        find_text_last(heap, text, separator)?
    } else {
        find_text(heap, text, separator, 0)?
    };
    let parts: [&[Ch]; 3] = match found {
        Some(at) => [&text[..at], separator, &text[at + separator.len()..]],
        None if last => [&[], &[], text],
        None => [text, &[], &[]],
    };
    heap.tuple(parts.into_iter().map(|part| heap.value(part)).collect::<Outcome<_>>()?)
}

/// `text.splitlines()`.
pub(in crate::text::template) fn lines(text: &[Ch], keep_ends: bool) -> Vec<&[Ch]> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.iter().position(|ch| chars::is_line_end(*ch)) {
        let two = rest[at].is('\r') && rest.get(at + 1).is_some_and(|next| next.is('\n'));
        let end = at + 1 + usize::from(two);
        lines.push(&rest[..if keep_ends { end } else { at }]);
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

fn make_translation(heap: &Heap<'_>, given: Given) -> Outcome<Value> {
    let [from, to, without] = given.bind("maketrans", ["/x", "/y", "/z"], 1)?;
    let from = from.unwrap_or(Value::None);
    let code = |ch: &Ch| Value::Integer(u32::from(ch.get()).into());
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    match (&from, to) {
        (Value::Dict(given), None) => {
            for (key, value) in given.iter() {
                match key {
                    Value::Text(key) if key.len() == 1 => {
                        compare::put(heap, &mut pairs, code(&key[0]), value.clone())?
                    }
                    Value::Integer(_) => {
                        compare::put(heap, &mut pairs, key.clone(), value.clone())?
                    }
                    _ => return failed("string keys in translate table must be of length 1"),
                }
            }
        }
        (Value::Text(from), Some(to)) => {
            let to = to.text("maketrans")?;
            if from.len() != to.len() {
                return failed("the first two maketrans arguments must have equal length");
            }
            for (from, to) in from.iter().zip(to.iter()) {
                compare::put(heap, &mut pairs, code(from), code(to))?;
            }
        }
        _ => return failed("if you give only one argument to maketrans it must be a dict"),
    }
    if let Some(without) = without {
        for ch in without.text("maketrans")?.iter() {
            compare::put(heap, &mut pairs, code(ch), Value::None)?;
        }
    }
    heap.dict(pairs)
}

fn translate(heap: &Heap<'_>, text: &[Ch], table: &Value) -> Outcome<Value> {
    let Value::Dict(pairs) = table else {
        return failed(format_args!("'{}' object is not subscriptable", table.described()));
    };
    let mut draft = Draft::new(heap)?;
    for ch in text {
        match compare::find(heap, pairs, &Value::Integer(u32::from(ch.get()).into()))? {
            None => draft.one(*ch)?,
            Some(Value::None) => {}
            Some(Value::Text(text)) => draft.push(text)?,
            Some(other) => {
                let code = other.integer("translate")?;
                match u32::try_from(code).ok().and_then(char::from_u32) {
                    Some(character) => draft.one(ch.replaced(character))?,
                    None => return failed("character mapping must be in range(0x110000)"),
                }
            }
        }
    }
    draft.value()
}
