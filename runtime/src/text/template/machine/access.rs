//! `value.name` and `value[item]`: the first looks for what Python's type has before what is in the
//! value, the second the other way about.

use std::rc::Rc;

use crate::text::template::heap::{Object, Outcome};
use crate::text::template::machine::Machine;
use crate::text::template::methods::names;
use crate::text::template::sequence;
use crate::text::template::value::{Function, Value};

impl Machine<'_> {
    /// `value.name`.
    pub(in crate::text::template) fn attribute(
        &mut self,
        value: &Value,
        name: &str,
    ) -> Outcome<Value> {
        self.heap.work(4 + name.len())?;
        value.defined()?;
        if let Some(found) = self.own_attribute(value, name)? {
            return Ok(found);
        }
        if let Value::Dict(pairs) = value {
            self.heap.work(pairs.len())?;
            if let Some(found) = pairs.named(name) {
                return Ok(found.clone());
            }
        }
        Ok(value.missing_attribute(name))
    }

    /// `value[item]`.
    pub(in crate::text::template) fn item(
        &mut self,
        value: &Value,
        item: &Value,
    ) -> Outcome<Value> {
        value.defined()?;
        if let Some(found) = sequence::item(&self.heap, value, item)? {
            return Ok(found);
        }
        let Value::Text(name) = item else {
            return Ok(value.missing_attribute(item.type_name()));
        };
        // Names of attributes are short.
        let name = crate::text::template::chars::string(&name[..name.len().min(100)]);
        Ok(match self.own_attribute(value, &name)? {
            Some(found) => found,
            None => value.missing_attribute(name),
        })
    }

    /// What Python's type itself has under a name.
    pub(in crate::text::template) fn own_attribute(
        &mut self,
        value: &Value,
        name: &str,
    ) -> Outcome<Option<Value>> {
        let method = |name: &'static str| Some(Value::Method(Rc::new((value.clone(), name))));
        if name.starts_with("__") {
            return Ok(Some(unsafe_attribute(value, name)));
        }
        Ok(match value {
            Value::Loop(number) => self.loop_attribute(*number, name)?,
            Value::Macro(number) => self.macro_attribute(*number, name)?,
            Value::Object(number) => {
                let (found, fields) = match self.heap.objects.borrow().get(*number) {
                    Some(Object::Namespace(fields)) => {
                        let found = fields.iter().find(|(other, _)| other.is(name));
                        (found.map(|(_, value)| value.clone()), fields.len())
                    }
                    Some(Object::Cycler { items, position }) => match name {
                        "current" => (Some(items[*position % items.len()].clone()), 1),
                        "next" => (method("next"), 1),
                        "reset" => (method("reset"), 1),
                        _ => (None, 1),
                    },
                    _ => (None, 1),
                };
                self.heap.work(fields)?;
                found
            }
            Value::Function(Function::Dict) if name == "fromkeys" => method("fromkeys"),
            Value::Range(range) => match name {
                "start" => Some(Value::Integer(range.start.into())),
                "stop" => Some(Value::Integer(range.stop.into())),
                "step" => Some(Value::Integer(range.step.into())),
                _ => names::find(value, name).and_then(method),
            },
            Value::Integer(_) | Value::Bool(_) => match name {
                "real" | "numerator" => value.as_integer().map(Value::Integer),
                "imag" => Some(Value::Integer(0)),
                "denominator" => Some(Value::Integer(1)),
                _ => names::find(value, name).and_then(method),
            },
            Value::Tuple(items) if items.is_group() => match name {
                "grouper" => items.first().cloned(),
                "list" => items.last().cloned(),
                _ => names::find(value, name).and_then(method),
            },
            Value::List(_) | Value::Dict(_) if names::changes(value, name) => {
                Some(unsafe_attribute(value, name))
            }
            _ => names::find(value, name).and_then(method),
        })
    }
}

fn unsafe_attribute(value: &Value, name: &str) -> Value {
    let of = value.type_name();
    Value::missing(format!("access to attribute '{name}' of '{of}' object is kept from templates"))
}
