//! JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it, which is what models have seen in training.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use crate::text::template::budget::{BoundedText, Budget};

/// Deeper values than any that the budget lets a template make.
const DEPTH_MAX: usize = 32;

pub(super) fn write(value: &Value, indent: Option<usize>, budget: &Budget) -> Result<Value, Error> {
    let mut text = budget.text();
    write_value(&mut text, value, indent, 0)?;
    Ok(text.into_value())
}

fn write_value(text: &mut BoundedText<'_>, value: &Value, indent: Option<usize>, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::new(ErrorKind::InvalidOperation, "tojson: nested too deep"));
    }
    if let Some(string) = value.as_str() {
        return write_string(text, string);
    }
    match value.kind() {
        ValueKind::None | ValueKind::Undefined => text.push("null"),
        ValueKind::Bool => text.push(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => text.push_value(value),
        ValueKind::Seq | ValueKind::Iterable => write_items(text, value, indent, depth, ["[", "]"]),
        ValueKind::Map => write_items(text, value, indent, depth, ["{", "}"]),
        kind => Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: a {kind} is not JSON"))),
    }
}

fn write_items(
    text: &mut BoundedText<'_>,
    value: &Value,
    indent: Option<usize>,
    depth: usize,
    [open, close]: [&str; 2],
) -> Result<(), Error> {
    let mut empty = true;
    text.push(open)?;
    for item in value.try_iter()? {
        if !empty {
            text.push(if indent.is_some() { "," } else { ", " })?;
        }
        empty = false;
        new_line(text, indent, depth + 1)?;
        if value.kind() == ValueKind::Map {
            match item.as_str() {
                Some(key) => write_string(text, key)?,
                None => {
                    text.push("\"")?;
                    text.push_value(&item)?;
                    text.push("\"")?;
                }
            }
            text.push(": ")?;
            write_value(text, &value.get_item(&item)?, indent, depth + 1)?;
        } else {
            write_value(text, &item, indent, depth + 1)?;
        }
    }
    if !empty {
        new_line(text, indent, depth)?;
    }
    text.push(close)
}

fn new_line(text: &mut BoundedText<'_>, indent: Option<usize>, depth: usize) -> Result<(), Error> {
    match indent {
        Some(width) => text.push(&format!("\n{}", " ".repeat(width * depth))),
        None => Ok(()),
    }
}

fn write_string(text: &mut BoundedText<'_>, string: &str) -> Result<(), Error> {
    text.push("\"")?;
    let mut buffer = [0; 4];
    for character in string.chars() {
        match character {
            '"' => text.push("\\\"")?,
            '\\' => text.push("\\\\")?,
            '\n' => text.push("\\n")?,
            '\r' => text.push("\\r")?,
            '\t' => text.push("\\t")?,
            '\u{8}' => text.push("\\b")?,
            '\u{c}' => text.push("\\f")?,
            control if control < ' ' => text.push(&format!("\\u{:04x}", u32::from(control)))?,
            other => text.push(other.encode_utf8(&mut buffer))?,
        }
    }
    text.push("\"")
}
