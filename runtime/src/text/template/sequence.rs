//! Python's iteration, indexing and slices.

use std::borrow::Cow;

use crate::text::template::chars::Ch;
use crate::text::template::compare;
use crate::text::template::heap::{Heap, Outcome, failed};
use crate::text::template::value::{Range, Value, View};

/// What `for` goes over. An iterator has nothing left afterwards.
pub(super) fn items<'v>(heap: &Heap<'_>, value: &'v Value) -> Outcome<Cow<'v, [Value]>> {
    Ok(match value {
        Value::Undefined(_) => Cow::Borrowed(&[]),
        Value::List(items) | Value::Tuple(items) => Cow::Borrowed(items),
        Value::Iterator(iteration) => Cow::Borrowed(iteration.rest()),
        Value::Text(text) => {
            heap.work(text.len() * 24)?;
            Cow::Owned(text.iter().map(|ch| heap.value(&[*ch])).collect::<Outcome<_>>()?)
        }
        Value::Dict(pairs) | Value::View(View::Keys, pairs) => {
            heap.work(pairs.len() * 4)?;
            Cow::Owned(pairs.iter().map(|(key, _)| key.clone()).collect())
        }
        Value::View(View::Values, pairs) => {
            heap.work(pairs.len() * 4)?;
            Cow::Owned(pairs.iter().map(|(_, value)| value.clone()).collect())
        }
        Value::View(View::Items, pairs) => {
            let pair = |(key, value): &(Value, Value)| heap.tuple(vec![key.clone(), value.clone()]);
            Cow::Owned(pairs.iter().map(pair).collect::<Outcome<_>>()?)
        }
        Value::Range(range) => {
            heap.work(range.len() * 4)?;
            Cow::Owned((0..range.len()).map(|index| range.get(index)).collect())
        }
        other => return failed(format_args!("'{}' object is not iterable", other.type_name())),
    })
}

/// `len(value)`.
pub(super) fn length(value: &Value) -> Outcome<usize> {
    match value {
        Value::Undefined(_) => Ok(0),
        Value::Text(text) => Ok(text.len()),
        Value::List(items) | Value::Tuple(items) => Ok(items.len()),
        Value::Dict(pairs) | Value::View(_, pairs) => Ok(pairs.len()),
        Value::Range(range) => Ok(range.len()),
        other => failed(format_args!("object of type '{}' has no len()", other.type_name())),
    }
}

/// `value[index]` of texts, lists, tuples, ranges and dictionaries; none if there is no such item,
/// as a template sees it for whatever Python would raise.
pub(super) fn item(heap: &Heap<'_>, value: &Value, index: &Value) -> Outcome<Option<Value>> {
    let position = |length: usize| {
        let index = index.as_integer()?;
        let index = if index < 0 { index + length as i128 } else { index };
        usize::try_from(index).ok().filter(|index| *index < length)
    };
    match value {
        Value::Dict(pairs) => Ok(compare::find(heap, pairs, index)?.cloned()),
        Value::List(items) | Value::Tuple(items) => {
            Ok(position(items.len()).map(|index| items[index].clone()))
        }
        Value::Text(text) => {
            position(text.len()).map(|index| heap.value(&[text[index]])).transpose()
        }
        Value::Range(range) => Ok(position(range.len()).map(|index| range.get(index))),
        _ => Ok(None),
    }
}

/// `value[start:stop:step]`; unlike an index, one that Python refuses is an error.
pub(super) fn slice(heap: &Heap<'_>, value: &Value, bounds: [&Value; 3]) -> Outcome<Value> {
    let length = match value {
        Value::Text(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_) => length(value)?,
        other => return failed(format_args!("'{}' object has no slices", other.type_name())),
    };
    let is_bound = |bound: &&Value| matches!(bound, Value::None) || bound.as_integer().is_some();
    if !bounds.iter().all(is_bound) {
        return failed("slice indices must be integers or None");
    }
    let Some(indices) = indices(bounds.map(Value::as_integer), length) else {
        return failed("slice step cannot be zero");
    };
    heap.work(indices.len())?;
    match value {
        Value::List(items) => heap.list(indices.iter().map(|index| items[index].clone()).collect()),
        Value::Tuple(items) => {
            heap.tuple(indices.iter().map(|index| items[index].clone()).collect())
        }
        Value::Range(range) => indices.of(*range),
        Value::Text(text) => {
            heap.room(indices.len())?;
            let part: Vec<Ch> = indices.iter().map(|index| text[index]).collect();
            heap.value(&part)
        }
        other => failed(format_args!("'{}' object has no slices", other.type_name())),
    }
}

/// The indices that a slice takes: `count` of them from `first` on, `step` apart.
pub(super) struct Indices {
    first: i128,
    /// The one before which it ends, or after it if it goes backwards.
    end: i128,
    step: i128,
    count: usize,
}

impl Indices {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.count as i128).map(|index| (self.first + index * self.step) as usize)
    }

    /// These of a range: another range.
    fn of(&self, range: Range) -> Outcome<Value> {
        let at = |index: i128| i128::from(range.start) + index * i128::from(range.step);
        let step = i128::from(range.step) * self.step;
        match [at(self.first), at(self.end), step].map(i64::try_from) {
            [Ok(start), Ok(stop), Ok(step)] => Ok(Value::Range(Range { start, stop, step })),
            _ => failed("a slice of a range with numbers that are too large"),
        }
    }
}

fn indices(bounds: [Option<i128>; 3], length: usize) -> Option<Indices> {
    let length = length as i128;
    let [start, stop, step] =
        bounds.map(|bound| bound.map(|bound| bound.clamp(-(1 << 64), 1 << 64)));
    let step = step.unwrap_or(1);
    if step == 0 {
        return None;
    }
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let clip =
        |index: i128| (if index < 0 { index + length } else { index }).clamp(lowest, highest);
    let (all_start, all_stop) = if step > 0 { (0, length) } else { (length - 1, -1) };
    let first = start.map_or(all_start, clip);
    let last = stop.map_or(all_stop, clip);
    let distance = if step > 0 { last - first } else { first - last };
    let count = if distance <= 0 { 0 } else { (distance - 1) / step.abs() + 1 };
    Some(Indices { first, end: last, step, count: count as usize })
}

/// `item in container`.
pub(super) fn contains(heap: &Heap<'_>, container: &Value, item: &Value) -> Outcome<bool> {
    match container {
        Value::Text(text) => match item {
            Value::Text(part) => Ok(compare::find_text(heap, text, part, 0)?.is_some()),
            other => failed(format_args!(
                "'in <string>' requires string as left operand, not {}",
                other.described()
            )),
        },
        Value::Dict(pairs) | Value::View(View::Keys, pairs) => {
            compare::hashable(item)?;
            Ok(compare::find(heap, pairs, item)?.is_some())
        }
        Value::Range(range) => match item.as_float() {
            Some(number) => {
                let (start, step) = (range.start as f64, range.step as f64);
                let steps = (number - start) / step;
                Ok(steps.fract() == 0.0 && steps >= 0.0 && steps < range.len() as f64)
            }
            None => Ok(false),
        },
        other => compare::among(heap, &items(heap, other)?, item),
    }
}
