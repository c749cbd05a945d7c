//! Filters of numbers.

use crate::text::template::given::Given;
use crate::text::template::heap::{Heap, Outcome, failed};
use crate::text::template::number;
use crate::text::template::operators;
use crate::text::template::value::Value;

pub(super) fn filter(heap: &Heap<'_>, name: &str, value: &Value, given: Given) -> Outcome<Value> {
    if let Value::Text(text) = value {
        heap.work(text.len() * 4)?;
    }
    match name {
        "abs" => {
            given.none(name)?;
            match value.defined()?.as_float() {
                Some(number) => operators::sign(value, number < 0.0),
                None => failed(format_args!("bad operand type for abs(): '{}'", value.type_name())),
            }
        }
        "int" => {
            let [default, base] = given.bind(name, ["default", "base"], 0)?;
            let base = base.map_or(Ok(10), |base| base.integer(name))?;
            Ok(match integer(value.defined()?, u32::try_from(base).unwrap_or(u32::MAX)) {
                Some(number) => Value::Integer(number),
                None => default.unwrap_or(Value::Integer(0)),
            })
        }
        "float" => {
            let [default] = given.bind(name, ["default"], 0)?;
            Ok(match float(value.defined()?) {
                Some(number) => Value::Float(number),
                None => default.unwrap_or(Value::Float(0.0)),
            })
        }
        "round" => round(value, given),
        _ => file_size(heap, value, given),
    }
}

fn integer(value: &Value, base: u32) -> Option<i128> {
    let whole = match value {
        Value::Text(text) => number::parse_integer(text, base),
        other => other.as_integer(),
    };
    whole.or_else(|| {
        float(value).filter(|number| number.abs() < 1e38).map(|number| number.trunc() as i128)
    })
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Text(text) => number::parse_float(text),
        other => other.as_float(),
    }
}

fn round(value: &Value, given: Given) -> Outcome<Value> {
    let [precision, method] = given.bind("round", ["precision", "method"], 0)?;
    let precision = precision.map_or(Ok(0), |precision| precision.integer("precision"))?;
    let precision = i32::try_from(precision.clamp(-400, 400)).unwrap_or(0);
    let Some(number) = value.defined()?.as_float() else {
        return failed(format_args!("round: expected a number, found {}", value.type_name()));
    };
    let common = method
        .as_ref()
        .is_none_or(|method| matches!(method, Value::Text(text) if text.is("common")));
    if common {
        return Ok(match value.as_integer() {
            // A whole number stays one.
            Some(number) if precision >= 0 => Value::Integer(number),
            Some(_) => Value::Integer(number::rounded(number, precision) as i128),
            None => Value::Float(number::rounded(number, precision)),
        });
    }
    let scale = 10f64.powi(precision);
    match method {
        Some(Value::Text(text)) if text.is("ceil") => {
            Ok(Value::Float((number * scale).ceil() / scale))
        }
        Some(Value::Text(text)) if text.is("floor") => {
            Ok(Value::Float((number * scale).floor() / scale))
        }
        _ => failed("method must be common, ceil or floor"),
    }
}

fn file_size(heap: &Heap<'_>, value: &Value, given: Given) -> Outcome<Value> {
    let [binary] = given.bind("filesizeformat", ["binary"], 0)?;
    let binary = binary.is_some_and(|binary| binary.is_true());
    let Some(bytes) = float(value.defined()?) else {
        return failed("filesizeformat: expected a number");
    };
    let (base, infix) = if binary { (1024.0, "i") } else { (1000.0, "") };
    let text = if bytes == 1.0 {
        "1 Byte".to_owned()
    } else if bytes < base {
        format!("{} Bytes", bytes as i128)
    } else {
        let units = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
        let last = units.len() - 1;
        let mut index = 0;
        let mut unit = base * base;
        while bytes >= unit && index < last {
            unit *= base;
            index += 1;
        }
        let letter = if binary && index == 0 { "K" } else { units[index] };
        format!("{:.1} {letter}{infix}B", base * bytes / unit)
    };
    heap.own(&text)
}
