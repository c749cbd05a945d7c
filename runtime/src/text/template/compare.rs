//! Python's `==` and `<`, and what is found by them.

use std::cmp::Ordering;

use crate::text::template::chars::Ch;
use crate::text::template::heap::{Heap, Outcome, failed};
use crate::text::template::value::{Value, View};

/// What comparing two values costs beside their characters.
const COMPARISON: usize = 8;

/// `left == right`.
pub(super) fn equal(heap: &Heap<'_>, left: &Value, right: &Value) -> Outcome<bool> {
    heap.work(COMPARISON)?;
    if let (Some(left), Some(right)) = (left.as_integer(), right.as_integer()) {
        return Ok(left == right);
    }
    if let (Some(left), Some(right)) = (left.as_float(), right.as_float()) {
        return Ok(left == right);
    }
    match (left, right) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => Ok(true),
        (Value::Text(left), Value::Text(right)) => Ok(left.len() == right.len() && {
            heap.work(left.len())?;
            left[..] == right[..]
        }),
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            equal_items(heap, left, right)
        }
        (Value::Dict(left), Value::Dict(right)) => equal_dicts(heap, left, right),
        (Value::View(kind, left), Value::View(other, right)) => {
            Ok(kind == other && *kind != View::Values && equal_dicts(heap, left, right)?)
        }
        (Value::Range(left), Value::Range(right)) => {
            let ends = |range: &crate::text::template::value::Range| {
                (range.len() > 0).then(|| {
                    (range.len(), range.start, if range.len() > 1 { range.step } else { 1 })
                })
            };
            Ok(ends(left) == ends(right))
        }
        (Value::Object(left), Value::Object(right)) | (Value::Macro(left), Value::Macro(right)) => {
            Ok(left == right)
        }
        (Value::Function(left), Value::Function(right)) => Ok(left == right),
        (Value::Loop(left), Value::Loop(right)) => Ok(left == right),
        _ => Ok(false),
    }
}

/// Whether two lists hold the same.
pub(super) fn equal_items(heap: &Heap<'_>, left: &[Value], right: &[Value]) -> Outcome<bool> {
    if left.len() != right.len() {
        return Ok(false);
    }
    for (left, right) in left.iter().zip(right.iter()) {
        if !equal(heap, left, right)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_dicts(
    heap: &Heap<'_>,
    left: &[(Value, Value)],
    right: &[(Value, Value)],
) -> Outcome<bool> {
    if left.len() != right.len() {
        return Ok(false);
    }
    for (key, value) in left {
        match find(heap, right, key)? {
            Some(other) if equal(heap, value, other)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The value of a key in a dictionary.
pub(super) fn find<'d>(
    heap: &Heap<'_>,
    pairs: &'d [(Value, Value)],
    key: &Value,
) -> Outcome<Option<&'d Value>> {
    for (other, value) in pairs {
        if equal(heap, key, other)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Whether one of the items equals a value.
pub(super) fn among(heap: &Heap<'_>, items: &[Value], wanted: &Value) -> Outcome<bool> {
    for item in items {
        if equal(heap, wanted, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Puts a value under a key, where the key already is, or at the end.
pub(super) fn put(
    heap: &Heap<'_>,
    pairs: &mut Vec<(Value, Value)>,
    key: Value,
    value: Value,
) -> Outcome<()> {
    hashable(&key)?;
    for (other, place) in pairs.iter_mut() {
        if equal(heap, &key, other)? {
            *place = value;
            return Ok(());
        }
    }
    pairs.push((key, value));
    Ok(())
}

/// Whether a value may be a key.
pub(super) fn hashable(value: &Value) -> Outcome<()> {
    match value {
        Value::List(_) | Value::Dict(_) => {
            failed(format_args!("unhashable type: '{}'", value.type_name()))
        }
        Value::Tuple(items) => items.iter().try_for_each(hashable),
        _ => Ok(()),
    }
}

/// `left < right` and the like, by `sign` in the failure.
pub(super) fn order(
    heap: &Heap<'_>,
    left: &Value,
    right: &Value,
    sign: &str,
) -> Outcome<Option<Ordering>> {
    heap.work(COMPARISON)?;
    left.defined()?;
    right.defined()?;
    if let (Some(left), Some(right)) = (left.as_integer(), right.as_integer()) {
        return Ok(Some(left.cmp(&right)));
    }
    if let (Some(left), Some(right)) = (left.as_float(), right.as_float()) {
        return Ok(left.partial_cmp(&right));
    }
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => {
            heap.work(left.len().min(right.len()))?;
            Ok(Some(left[..].cmp(&right[..])))
        }
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            for (left, right) in left.iter().zip(right.iter()) {
                if !equal(heap, left, right)? {
                    return order(heap, left, right, sign);
                }
            }
            Ok(Some(left.len().cmp(&right.len())))
        }
        _ => {
            let (left, right) = (left.type_name(), right.type_name());
            failed(format_args!(
                "'{sign}' not supported between instances of '{left}' and '{right}'"
            ))
        }
    }
}

/// Where a part first occurs in a text, from `start` on.
pub(super) fn find_text(
    heap: &Heap<'_>,
    text: &[Ch],
    part: &[Ch],
    start: usize,
) -> Outcome<Option<usize>> {
    let Some(first) = part.first() else { return Ok((start <= text.len()).then_some(start)) };
    let last_start = match text.len().checked_sub(part.len()) {
        Some(last) if start <= last => last,
        _ => return Ok(None),
    };
    let mut at = start;
    while at <= last_start {
        let Some(skipped) = text[at..=last_start].iter().position(|ch| ch == first) else {
            heap.work(last_start - at + 1)?;
            return Ok(None);
        };
        at += skipped;
        let same = text[at..].iter().zip(part).take_while(|(ch, other)| ch == other).count();
        heap.work(skipped + same + 1)?;
        if same == part.len() {
            return Ok(Some(at));
        }
        at += 1;
    }
    Ok(None)
}

/// Where a part last occurs in a text.
pub(super) fn find_text_last(heap: &Heap<'_>, text: &[Ch], part: &[Ch]) -> Outcome<Option<usize>> {
    let Some(mut at) = text.len().checked_sub(part.len()) else { return Ok(None) };
    loop {
        let same = text[at..].iter().zip(part).take_while(|(ch, other)| ch == other).count();
        heap.work(same + 1)?;
        if same == part.len() {
            return Ok(Some(at));
        }
        match at.checked_sub(1) {
            Some(before) => at = before,
            None => return Ok(None),
        }
    }
}
