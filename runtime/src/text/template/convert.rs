//! From JSON to a template's values, each text with its author.

use serde_json::{Map, Number};

use crate::text::template::chars;
use crate::text::template::heap::{Heap, Outcome, failed};
use crate::text::template::rendered::Author;
use crate::text::template::value::Value;
use crate::text::template::{Json, Message};

/// Lists and objects of JSON within each other. What came from a parser is never deeper, what a
/// program has made may be.
const DEPTH_MAX: usize = 128;

/// The messages of a conversation, as dictionaries.
pub(super) fn messages(heap: &Heap<'_>, messages: &[Message]) -> Outcome<Value> {
    let message = |message: &Message| {
        let author = if message.role() == "assistant" { Author::Assistant } else { Author::Other };
        object(heap, message.fields(), author, 0)
    };
    let items = messages.iter().map(message).collect::<Outcome<_>>()?;
    heap.list(items)
}

/// Any value that is not the template's own.
pub(super) fn value(heap: &Heap<'_>, json: &Json, author: Author) -> Outcome<Value> {
    at_depth(heap, json, author, 0)
}

/// A list of such values.
pub(super) fn list(heap: &Heap<'_>, items: &[Json], author: Author) -> Outcome<Value> {
    array(heap, items, author, 0)
}

fn at_depth(heap: &Heap<'_>, json: &Json, author: Author, depth: usize) -> Outcome<Value> {
    if depth > DEPTH_MAX {
        return failed("the input is nested too deep");
    }
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => self::number(number),
        Json::String(text) => text_value(heap, text, author)?,
        Json::Array(items) => array(heap, items, author, depth)?,
        Json::Object(fields) => object(heap, fields, author, depth)?,
    })
}

fn array(heap: &Heap<'_>, items: &[Json], author: Author, depth: usize) -> Outcome<Value> {
    let items =
        items.iter().map(|item| at_depth(heap, item, author, depth + 1)).collect::<Outcome<_>>()?;
    heap.list(items)
}

fn object(
    heap: &Heap<'_>,
    fields: &Map<String, Json>,
    author: Author,
    depth: usize,
) -> Outcome<Value> {
    let pair = |(name, field): (&String, &Json)| {
        Ok((text_value(heap, name, author)?, at_depth(heap, field, author, depth + 1)?))
    };
    let pairs = fields.iter().map(pair).collect::<Outcome<_>>()?;
    heap.dict(pairs)
}

fn text_value(heap: &Heap<'_>, text: &str, author: Author) -> Outcome<Value> {
    heap.room(text.len())?;
    heap.value(&chars::written(text, author).collect::<Vec<_>>())
}

fn number(number: &Number) -> Value {
    match number.as_i128() {
        Some(number) => Value::Integer(number),
        None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}
