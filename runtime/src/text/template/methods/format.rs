//! `text.format(...)`: fields in braces.

use crate::text::template::chars::{self, Ch};
use crate::text::template::formatting;
use crate::text::template::given::Given;
use crate::text::template::heap::{Draft, Heap, Outcome, failed};
use crate::text::template::methods::names;
use crate::text::template::value::Value;
use crate::text::template::{print, sequence};

/// Fields within the specification of fields.
const DEPTH_MAX: usize = 2;

/// What fields are looked up in.
struct Fields<'g> {
    given: &'g Given,
    /// `format_map`'s argument.
    mapping: Option<&'g Value>,
    /// The number of the next field without a name; none once a field had its number.
    next: Option<usize>,
}

pub(super) fn format(heap: &Heap<'_>, text: &[Ch], given: &Given) -> Outcome<Value> {
    let made = expand(heap, text, &mut Fields { given, mapping: None, next: Some(0) }, 0)?;
    heap.value(&made)
}

pub(super) fn format_map(heap: &Heap<'_>, text: &[Ch], mapping: &Value) -> Outcome<Value> {
    let given = Given::default();
    let made = expand(
        heap,
        text,
        &mut Fields { given: &given, mapping: Some(mapping), next: Some(0) },
        0,
    )?;
    heap.value(&made)
}

fn expand(heap: &Heap<'_>, text: &[Ch], fields: &mut Fields<'_>, depth: usize) -> Outcome<Vec<Ch>> {
    if depth == DEPTH_MAX {
        return failed("Max string recursion exceeded");
    }
    let mut draft = Draft::new(heap)?;
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        heap.work(1)?;
        let doubled = after.first().is_some_and(|next| next == first);
        match first.get() {
            '{' | '}' if doubled => {
                draft.one(*first)?;
                rest = &after[1..];
            }
            '}' => return failed("Single '}' encountered in format string"),
            '{' => {
                let Some(end) = closing(after) else {
                    return failed("expected '}' before end of string");
                };
                draft.push(&field(heap, &after[..end], fields, depth)?)?;
                rest = &after[end + 1..];
            }
            _ => {
                draft.one(*first)?;
                rest = after;
            }
        }
    }
    Ok(draft.characters().to_vec())
}

/// Where the brace is that closes a field.
fn closing(text: &[Ch]) -> Option<usize> {
    let mut open = 0;
    text.iter().position(|ch| match ch.get() {
        '{' => {
            open += 1;
            false
        }
        '}' if open > 0 => {
            open -= 1;
            false
        }
        '}' => true,
        _ => false,
    })
}

/// `name!conversion:specification`.
fn field(heap: &Heap<'_>, field: &[Ch], fields: &mut Fields<'_>, depth: usize) -> Outcome<Vec<Ch>> {
    let name_end = field.iter().position(|ch| ch.is('!') || ch.is(':')).unwrap_or(field.len());
    let (name, mut rest) = field.split_at(name_end);
    let value = look_up(heap, name, fields)?;
    let mut conversion = None;
    if let [bang, kind, after @ ..] = rest
        && bang.is('!')
    {
        (conversion, rest) = (Some(kind.get()), after);
    }
    let spec = match rest.split_first() {
        Some((colon, spec)) if colon.is(':') => expand(heap, spec, fields, depth + 1)?,
        None => Vec::new(),
        Some(_) => return failed("expected ':' after conversion specifier"),
    };
    let value = match conversion {
        None => value,
        Some('s') => Value::Text(print::text(heap, &value)?),
        Some('r' | 'a') => Value::Text(print::repr(heap, &value)?),
        Some(other) => return failed(format_args!("Unknown conversion specifier '{other}'")),
    };
    formatting::format(heap, &value, &spec)
}

/// `name.attribute[item]`.
fn look_up(heap: &Heap<'_>, name: &[Ch], fields: &mut Fields<'_>) -> Outcome<Value> {
    let first_end = name.iter().position(|ch| ch.is('.') || ch.is('[')).unwrap_or(name.len());
    let (first, mut rest) = name.split_at(first_end);
    heap.work(name.len() + fields.given.named.len())?;
    let first = chars::string(first);
    let number = if first.is_empty() { fields.next } else { first.parse().ok() };
    let mut value = match (number, fields.mapping) {
        (_, Some(mapping)) => {
            let key = heap.own(&first)?;
            sequence::item(heap, mapping, &key)?
        }
        (Some(number), None) => {
            fields.next = if first.is_empty() { Some(number + 1) } else { None };
            fields.given.positional.get(number).cloned()
        }
        (None, None) if first.is_empty() => {
            return failed(
                "cannot switch from manual field specification to automatic field numbering",
            );
        }
        (None, None) => fields
            .given
            .named
            .iter()
            .find(|(name, _)| **name == *first)
            .map(|(_, value)| value.clone()),
    };
    while let Some((sign, after)) = rest.split_first() {
        let Some(container) = &value else { break };
        if sign.is('[') {
            let Some(end) = after.iter().position(|ch| ch.is(']')) else {
                return failed("Missing ']' in format string");
            };
            let key = chars::string(&after[..end]);
            let key = match key.parse::<u32>() {
                Ok(index) => Value::Integer(index.into()),
                Err(_) => heap.value(&after[..end])?,
            };
            value = sequence::item(heap, container, &key)?;
            rest = &after[end + 1..];
        } else {
            let end = after.iter().position(|ch| ch.is('.') || ch.is('[')).unwrap_or(after.len());
            let name = chars::string(&after[..end]);
            value = match container {
                Value::Dict(pairs) if names::find(container, &name).is_none() => {
                    pairs.named(&name).cloned()
                }
                _ => None,
            };
            rest = &after[end..];
        }
    }
    match value {
        Some(value) => Ok(value),
        None => failed(format_args!(
            "format: there is no '{}'",
            chars::string(&name[..name.len().min(60)])
        )),
    }
}
