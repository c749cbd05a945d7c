//! Which methods Python's types have.

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
pub(in crate::text::template) fn find(value: &Value, name: &str) -> Option<&'static str> {
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
pub(in crate::text::template) fn changes(value: &Value, name: &str) -> bool {
    match value {
        Value::List(_) => LIST_CHANGES.contains(&name),
        Value::Dict(_) => DICT_CHANGES.contains(&name),
        _ => false,
    }
}
