//! The methods of Python's types that a template may call.

mod containers;
mod format;
mod letters;
mod texts;

use crate::text::template::heap::{Heap, Outcome, failed};
use crate::text::template::machine::Given;
use crate::text::template::value::{Value, View};

const TEXT: [&str; 46] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];
const LIST: [&str; 3] = ["copy", "count", "index"];
const LIST_CHANGES: [&str; 8] =
    ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"];
const TUPLE: [&str; 2] = ["count", "index"];
const DICT: [&str; 6] = ["copy", "fromkeys", "get", "items", "keys", "values"];
const DICT_CHANGES: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];
const VIEW: [&str; 1] = ["isdisjoint"];
const INTEGER: [&str; 5] =
    ["as_integer_ratio", "bit_count", "bit_length", "conjugate", "is_integer"];
const FLOAT: [&str; 2] = ["conjugate", "is_integer"];

/// The method's name, if the value's type has it.
pub(super) fn find(value: &Value, name: &str) -> Option<&'static str> {
    let names: &[&'static str] = match value {
        Value::Text(_) => &TEXT,
        Value::List(_) => &LIST,
        Value::Tuple(_) | Value::Range(_) => &TUPLE,
        Value::Dict(_) => &DICT,
        Value::View(View::Keys | View::Items, _) => &VIEW,
        Value::Integer(_) | Value::Bool(_) => &INTEGER,
        Value::Float(_) => &FLOAT,
        _ => &[],
    };
    names.iter().find(|other| **other == name).copied()
}

/// Whether the value's type has a method of this name that would change it: these are forbidden.
pub(super) fn changes(value: &Value, name: &str) -> bool {
    match value {
        Value::List(_) => LIST_CHANGES.contains(&name),
        Value::Dict(_) => DICT_CHANGES.contains(&name),
        _ => false,
    }
}

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
