//! The methods of Python's types that a template may call.

mod containers;
mod format;
mod letters;
pub(super) mod names;
mod texts;

use crate::text::template::given::Given;
use crate::text::template::heap::{Heap, Outcome, failed};
use crate::text::template::value::Value;

/// `receiver.name(...)`.
pub(super) fn call(heap: &Heap<'_>, receiver: &Value, name: &str, given: Given) -> Outcome<Value> {
    match receiver {
        Value::Text(text) => texts::call(heap, text, name, given),
        Value::List(_) | Value::Tuple(_) | Value::Range(_) => {
            containers::sequence(heap, receiver, name, given)
        }
        Value::Dict(pairs) => containers::dict(heap, pairs, name, given),
        Value::View(..) => containers::view(heap, receiver, name, given),
        Value::Integer(_) | Value::Bool(_) | Value::Float(_) => {
            containers::number(heap, receiver, name, given)
        }
        other => failed(format_args!("'{}' object has no method '{name}'", other.type_name())),
    }
}

/// `text.center(width)`, for the filter of this name too.
pub(super) use letters::{capitalized, centered};
pub(super) use texts::{lines, replaced};
