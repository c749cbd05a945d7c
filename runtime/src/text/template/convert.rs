//! From JSON to a template's values, each text with its author.

use serde_json::{Map, Number};

use crate::text::template::chars;
use crate::text::template::heap::{Heap, Outcome};
use crate::text::template::rendered::Author;
use crate::text::template::value::Value;
use crate::text::template::{Json, Message};

/// The messages of a conversation, as dictionaries.
pub(super) fn messages(heap: &Heap<'_>, messages: &[Message]) -> Outcome<Value> {
    let message = |message: &Message| {
        let author = if message.role() == "assistant" { Author::Assistant } else { Author::Other };
        object(heap, message.fields(), author)
    };
    let items = messages.iter().map(message).collect::<Outcome<_>>()?;
    heap.list(items)
}

/// Any value that is not the template's own. JSON that came from a parser is never nested deeper
/// than 128.
pub(super) fn value(heap: &Heap<'_>, json: &Json, author: Author) -> Outcome<Value> {
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => self::number(number),
        Json::String(text) => text_value(heap, text, author)?,
        Json::Array(items) => list(heap, items, author)?,
        Json::Object(fields) => object(heap, fields, author)?,
    })
}

pub(super) fn list(heap: &Heap<'_>, items: &[Json], author: Author) -> Outcome<Value> {
    let items = items.iter().map(|item| value(heap, item, author)).collect::<Outcome<_>>()?;
    heap.list(items)
}

fn object(heap: &Heap<'_>, fields: &Map<String, Json>, author: Author) -> Outcome<Value> {
    let pair = |(name, field): (&String, &Json)| {
        Ok((text_value(heap, name, author)?, value(heap, field, author)?))
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
