//! Methods of lists, tuples, ranges, dictionaries and numbers.

use crate::text::template::compare;
use crate::text::template::given::Given;
use crate::text::template::heap::{Heap, Outcome, failed};
use crate::text::template::sequence;
use crate::text::template::value::{Dict, Value, View};

pub(super) fn sequence(
    heap: &Heap<'_>,
    receiver: &Value,
    name: &str,
    given: Given,
) -> Outcome<Value> {
    let items = sequence::items(heap, receiver)?;
    match name {
        "copy" => {
            given.none(name)?;
            Ok(receiver.clone())
        }
        "count" => {
            let [wanted] = given.bind(name, ["/value"], 1)?;
            let wanted = wanted.unwrap_or(Value::None);
            let mut count = 0;
            for item in items.iter() {
                count += i128::from(compare::equal(heap, item, &wanted)?);
            }
            Ok(Value::Integer(count))
        }
        _ => {
            let [wanted, start, stop] = given.bind(name, ["/value", "/start", "/stop"], 1)?;
            let wanted = wanted.unwrap_or(Value::None);
            let (start, stop) = bounds(start, stop, items.len())?;
            for (index, item) in items.iter().enumerate().take(stop).skip(start) {
                if compare::equal(heap, item, &wanted)? {
                    return Ok(Value::Integer(index as i128));
                }
            }
            failed(format_args!("the value is not in the {}", receiver.type_name()))
        }
    }
}

/// A start and a stop as slices take them.
pub(super) fn bounds(
    start: Option<Value>,
    stop: Option<Value>,
    length: usize,
) -> Outcome<(usize, usize)> {
    let place = |bound: Option<Value>, absent: usize| -> Outcome<usize> {
        match bound {
            None | Some(Value::None) => Ok(absent),
            Some(value) => {
                let index = value.defined()?.integer("index")?;
                let index = if index < 0 { index.saturating_add(length as i128) } else { index };
                Ok(usize::try_from(index.max(0)).unwrap_or(usize::MAX))
            }
        }
    };
    // A start beyond the end is kept: nothing is found there, not even an empty text.
    Ok((place(start, 0)?, place(stop, length)?.min(length)))
}

pub(super) fn dict(heap: &Heap<'_>, pairs: &Dict, name: &str, given: Given) -> Outcome<Value> {
    match name {
        "get" => {
            let [key, default] = given.bind(name, ["/key", "/default"], 1)?;
            let key = key.unwrap_or(Value::None);
            compare::hashable(&key)?;
            Ok(match compare::find(heap, pairs, &key)? {
                Some(value) => value.clone(),
                None => default.unwrap_or(Value::None),
            })
        }
        "fromkeys" => {
            let [keys, value] = given.bind(name, ["/iterable", "/value"], 1)?;
            let value = value.unwrap_or(Value::None);
            let mut made: Vec<(Value, Value)> = Vec::new();
            for key in sequence::items(heap, &keys.unwrap_or(Value::None))?.iter() {
                compare::hashable(key)?;
                if compare::find(heap, &made, key)?.is_none() {
                    made.push((key.clone(), value.clone()));
                }
            }
            heap.dict(made)
        }
        _ => {
            given.none(name)?;
            Ok(match name {
                "items" => Value::View(View::Items, pairs.clone()),
                "keys" => Value::View(View::Keys, pairs.clone()),
                "values" => Value::View(View::Values, pairs.clone()),
                _ => Value::Dict(pairs.clone()),
            })
        }
    }
}

pub(super) fn view(heap: &Heap<'_>, receiver: &Value, name: &str, given: Given) -> Outcome<Value> {
    let [other] = given.bind(name, ["/other"], 1)?;
    for item in sequence::items(heap, &other.unwrap_or(Value::None))?.iter() {
        if sequence::contains(heap, receiver, item)? {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

pub(super) fn number(
    heap: &Heap<'_>,
    receiver: &Value,
    name: &str,
    given: Given,
) -> Outcome<Value> {
    given.none(name)?;
    let size = receiver.as_integer().unwrap_or(0).unsigned_abs();
    Ok(match (receiver, name) {
        (Value::Float(number), "is_integer") => {
            Value::Bool(number.is_finite() && number.fract() == 0.0)
        }
        (Value::Float(number), _) => Value::Float(*number),
        (_, "is_integer") => Value::Bool(true),
        (_, "bit_length") => Value::Integer(i128::from(128 - size.leading_zeros())),
        (_, "bit_count") => Value::Integer(i128::from(size.count_ones())),
        (_, "as_integer_ratio") => {
            heap.tuple(vec![Value::Integer(receiver.as_integer().unwrap_or(0)), Value::Integer(1)])?
        }
        _ => Value::Integer(receiver.as_integer().unwrap_or(0)),
    })
}
