//! How Python writes values: `str(value)` and `repr(value)`.

use crate::text::template::chars::Ch;
use crate::text::template::heap::{Draft, Heap, Object, Outcome, failed};
use crate::text::template::number;
use crate::text::template::value::{Text, Value, View};

/// Namespaces within each other.
const NAMESPACES_MAX: usize = 8;

/// `str(value)`.
pub(super) fn text(heap: &Heap<'_>, value: &Value) -> Outcome<Text> {
    if let Value::Text(text) = value {
        return Ok(text.clone());
    }
    let mut draft = Draft::new(heap)?;
    append(&mut draft, value)?;
    heap.text(draft.characters())
}

/// `repr(value)`.
pub(super) fn repr(heap: &Heap<'_>, value: &Value) -> Outcome<Text> {
    let mut draft = Draft::new(heap)?;
    append_repr(&mut draft, value)?;
    heap.text(draft.characters())
}

/// Appends `str(value)`.
pub(super) fn append(draft: &mut Draft<'_, '_>, value: &Value) -> Outcome<()> {
    match value {
        Value::Text(text) => draft.push(text),
        Value::Undefined(_) => Ok(()),
        other => append_repr(draft, other),
    }
}

/// Appends `repr(value)`.
pub(super) fn append_repr(draft: &mut Draft<'_, '_>, value: &Value) -> Outcome<()> {
    draft.heap.step()?;
    match value {
        Value::Undefined(_) => draft.own("Undefined"),
        Value::None => draft.own("None"),
        Value::Bool(true) => draft.own("True"),
        Value::Bool(false) => draft.own("False"),
        Value::Integer(number) => draft.own(&number.to_string()),
        Value::Float(number) => draft.own(&number::shortest(*number)),
        Value::Text(text) => quoted(draft, text),
        Value::List(items) => list(draft, items, ["[", "]"]),
        Value::Tuple(items) if items.len() == 1 => list(draft, items, ["(", ",)"]),
        Value::Tuple(items) => list(draft, items, ["(", ")"]),
        Value::Dict(pairs) => dict(draft, pairs),
        Value::View(View::Keys, pairs) => {
            view(draft, "dict_keys", pairs, |draft, (key, _)| append_repr(draft, key))
        }
        Value::View(View::Values, pairs) => {
            view(draft, "dict_values", pairs, |draft, (_, value)| append_repr(draft, value))
        }
        Value::View(View::Items, pairs) => {
            view(draft, "dict_items", pairs, |draft, (key, value)| {
                list(draft, &[key.clone(), value.clone()], ["(", ")"])
            })
        }
        Value::Range(range) if range.step == 1 => {
            draft.own(&format!("range({}, {})", range.start, range.stop))
        }
        Value::Range(range) => {
            draft.own(&format!("range({}, {}, {})", range.start, range.stop, range.step))
        }
        Value::Object(number) => object(draft, *number),
        Value::Iterator(_) => draft.own("<generator object>"),
        Value::Macro(_) => draft.own("<Macro>"),
        Value::Loop(_) => draft.own("<LoopContext>"),
        Value::Function(_) => draft.own("<function>"),
        Value::Method(_) => draft.own("<built-in method>"),
    }
}

fn list(draft: &mut Draft<'_, '_>, items: &[Value], [open, close]: [&str; 2]) -> Outcome<()> {
    draft.own(open)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            draft.own(", ")?;
        }
        append_repr(draft, item)?;
    }
    draft.own(close)
}

fn dict(draft: &mut Draft<'_, '_>, pairs: &[(Value, Value)]) -> Outcome<()> {
    draft.own("{")?;
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            draft.own(", ")?;
        }
        append_repr(draft, key)?;
        draft.own(": ")?;
        append_repr(draft, value)?;
    }
    draft.own("}")
}

fn view(
    draft: &mut Draft<'_, '_>,
    name: &str,
    pairs: &[(Value, Value)],
    entry: impl Fn(&mut Draft<'_, '_>, &(Value, Value)) -> Outcome<()>,
) -> Outcome<()> {
    draft.own(name)?;
    draft.own("([")?;
    for (index, pair) in pairs.iter().enumerate() {
        if index > 0 {
            draft.own(", ")?;
        }
        entry(draft, pair)?;
    }
    draft.own("])")
}

fn object(draft: &mut Draft<'_, '_>, number: usize) -> Outcome<()> {
    let pairs: Vec<(Value, Value)> = match draft.heap.objects.borrow().get(number) {
        Some(Object::Namespace(fields)) => {
            fields.iter().map(|(name, value)| (Value::Text(name.clone()), value.clone())).collect()
        }
        Some(Object::Cycler { .. }) => return draft.own("<Cycler>"),
        _ => return draft.own("<Joiner>"),
    };
    if draft.namespaces == NAMESPACES_MAX {
        return failed("maximum recursion depth exceeded while writing a namespace");
    }
    draft.namespaces += 1;
    draft.own("<Namespace ")?;
    dict(draft, &pairs)?;
    draft.own(">")?;
    draft.namespaces -= 1;
    Ok(())
}

/// A text in Python's quotes, with what is not printable escaped.
fn quoted(draft: &mut Draft<'_, '_>, text: &[Ch]) -> Outcome<()> {
    draft.heap.work(text.len())?;
    let has = |quote: char| text.iter().any(|ch| ch.is(quote));
    let quote = if has('\'') && !has('"') { '"' } else { '\'' };
    draft.one(Ch::own(quote))?;
    for ch in text {
        let escape = match ch.get() {
            '\\' => "\\\\".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            character if character == quote => format!("\\{character}"),
            character if is_printable(character) => {
                draft.one(*ch)?;
                continue;
            }
            character => match u32::from(character) {
                code @ ..0x100 => format!("\\x{code:02x}"),
                code @ ..0x1_0000 => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            },
        };
        draft.instead(*ch, &escape)?;
    }
    draft.one(Ch::own(quote))
}

/// Python's `str.isprintable`, by the same categories of Unicode that Rust escapes for.
pub(super) fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\0'..='\u{7f}' => false,
        // After a letter a combining mark is not escaped for being one.
        other => {
            let mut bytes = [b'a'; 5];
            let end = 1 + other.encode_utf8(&mut bytes[1..]).len();
            let text = std::str::from_utf8(&bytes[..end]).unwrap_or_default();
            text.escape_debug().nth(1) != Some('\\')
        }
    }
}
