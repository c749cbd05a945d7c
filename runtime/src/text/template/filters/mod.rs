//! The filters of Python's Jinja.

mod collections;
mod numbers;
mod texts;

use crate::text::template::chars;
use crate::text::template::given::Given;
use crate::text::template::heap::{Outcome, failed};
use crate::text::template::json;
use crate::text::template::machine::Machine;
use crate::text::template::methods;
use crate::text::template::value::Value;
use crate::text::template::{print, sequence};

impl Machine<'_> {
    /// `value|name(...)`.
    pub(super) fn filter(&mut self, name: &str, value: &Value, given: Given) -> Outcome<Value> {
        let heap = &self.heap;
        heap.look_at(value)?;
        match name {
            "tojson" => json::filter(heap, value, given),
            "default" | "d" => {
                let [default, boolean] = given.bind(name, ["default_value", "boolean"], 0)?;
                let absent = value.is_undefined()
                    || boolean.is_some_and(|boolean| boolean.is_true()) && !value.is_true();
                if absent { default.map_or_else(|| heap.own(""), Ok) } else { Ok(value.clone()) }
            }
            "length" | "count" => {
                given.none(name)?;
                Ok(Value::Integer(sequence::length(value)? as i128))
            }
            "string" => {
                given.none(name)?;
                Ok(Value::Text(print::text(heap, value)?))
            }
            "safe" | "escape" | "e" | "forceescape" | "upper" | "lower" | "capitalize"
            | "title" | "trim" | "replace" | "center" | "indent" | "truncate" | "wordcount"
            | "format" | "urlencode" => texts::filter(heap, name, value, given),
            "abs" | "float" | "int" | "round" | "filesizeformat" => {
                numbers::filter(heap, name, value, given)
            }
            "attr" => {
                let [attribute] = given.bind(name, ["name"], 1)?;
                let attribute = attribute.unwrap_or(Value::None);
                let attribute = chars::string(attribute.text(name)?);
                value.defined()?;
                Ok(match self.own_attribute(value, &attribute)? {
                    Some(found) => found,
                    None => value.missing_attribute(attribute),
                })
            }
            "random" | "urlize" | "xmlattr" | "pprint" | "striptags" | "wordwrap" => {
                failed(format_args!("the filter '{name}' is not supported"))
            }
            other => self.collection_filter(other, value, given),
        }
    }
}

/// Lower case for texts: what filters compare that ignore case.
pub(super) fn case_folded(machine: &Machine<'_>, value: &Value) -> Outcome<Value> {
    match value {
        Value::Text(text) => {
            machine.heap.work(text.len() * 4)?;
            machine.heap.value(&chars::lower(text))
        }
        other => Ok(other.clone()),
    }
}

pub(super) use methods::capitalized;
