//! The tests of Python's Jinja: what comes after `is`.

use crate::text::template::ast::Relation;
use crate::text::template::chars;
use crate::text::template::given::Given;
use crate::text::template::heap::{Heap, Object, Outcome, failed};
use crate::text::template::machine::Machine;
use crate::text::template::machine::expressions::{holds, unknown};
use crate::text::template::methods;
use crate::text::template::operators;
use crate::text::template::value::Value;
use crate::text::template::{ast, print};

impl Machine<'_> {
    /// `value is name(...)`.
    pub(super) fn test(&mut self, name: &str, value: &Value, given: Given) -> Outcome<bool> {
        self.heap.look_at(value)?;
        let relation = match name {
            "==" | "eq" | "equalto" => Some(Relation::Equal),
            "!=" | "ne" => Some(Relation::NotEqual),
            "<" | "lt" | "lessthan" => Some(Relation::Less),
            "<=" | "le" => Some(Relation::LessOrEqual),
            ">" | "gt" | "greaterthan" => Some(Relation::Greater),
            ">=" | "ge" => Some(Relation::GreaterOrEqual),
            "in" => Some(Relation::In),
            _ => None,
        };
        if let Some(relation) = relation {
            let [other] = given.bind(name, ["/other"], 1)?;
            return holds(&self.heap, relation, value, &other.unwrap_or(Value::None));
        }
        match name {
            "divisibleby" => {
                let [number] = given.bind(name, ["num"], 1)?;
                let number = number.unwrap_or(Value::None);
                let rest = operators::binary(&self.heap, ast::Operator::Remainder, value, &number)?;
                Ok(rest.as_float() == Some(0.0))
            }
            "sameas" => {
                let [other] = given.bind(name, ["other"], 1)?;
                Ok(same(value, &other.unwrap_or(Value::None)))
            }
            "filter" | "test" => {
                given.none(name)?;
                let known = chars::string(value.text(name)?);
                Ok(if name == "filter" {
                    FILTERS.contains(&&*known)
                } else {
                    TESTS.contains(&&*known)
                })
            }
            other => {
                given.none(other)?;
                plain(&self.heap, other, value)
            }
        }
    }
}

const TESTS: [&str; 39] = [
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];
const FILTERS: [&str; 49] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "wordcount",
    "wordwrap",
];

fn plain(heap: &Heap<'_>, name: &str, value: &Value) -> Outcome<bool> {
    Ok(match name {
        "defined" => !value.is_undefined(),
        "undefined" => value.is_undefined(),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Integer(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => value.as_float().is_some(),
        "string" => matches!(value, Value::Text(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        "sequence" => {
            matches!(
                value,
                Value::Undefined(_)
                    | Value::Text(_)
                    | Value::List(_)
                    | Value::Tuple(_)
                    | Value::Dict(_)
                    | Value::Range(_)
            )
        }
        "iterable" => matches!(
            value,
            Value::Undefined(_)
                | Value::Text(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::View(..)
                | Value::Range(_)
                | Value::Iterator(_)
                | Value::Loop(_)
        ),
        "callable" => match value {
            // Calling what is undefined is a method of it, though one that fails.
            Value::Undefined(_)
            | Value::Function(_)
            | Value::Macro(_)
            | Value::Method(_)
            | Value::Loop(_) => true,
            Value::Object(number) => {
                matches!(heap.objects.borrow().get(*number), Some(Object::Joiner { .. }))
            }
            _ => false,
        },
        "odd" | "even" => {
            let two = Value::Integer(2);
            let rest = operators::binary(heap, ast::Operator::Remainder, value, &two)?;
            match rest.as_float() {
                Some(rest) => rest == if name == "odd" { 1.0 } else { 0.0 },
                None => return failed(format_args!("{name}: expected a number")),
            }
        }
        "lower" | "upper" => {
            let text = Value::Text(print::text(heap, value)?);
            let test = if name == "lower" { "islower" } else { "isupper" };
            methods::call(heap, &text, test, Given::default())?.is_true()
        }
        "escaped" => matches!(value, Value::Text(text) if text.is_markup()),
        other => return unknown("test", other),
    })
}

/// Whether two values are one object.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::None, Value::None) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Integer(left), Value::Integer(right)) => left == right,
        (Value::Text(left), Value::Text(right)) => left[..] == right[..],
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            left.same(right)
        }
        (Value::Dict(left), Value::Dict(right)) => left.same(right),
        (Value::Object(left), Value::Object(right)) | (Value::Macro(left), Value::Macro(right)) => {
            left == right
        }
        (Value::Function(left), Value::Function(right)) => left == right,
        _ => false,
    }
}
