//! Texts that escape others: what the filters `safe` and `escape` make, and what comes of adding
//! such a text and a plain one.

use crate::text::template::chars::Ch;
use crate::text::template::heap::{Heap, Outcome};
use crate::text::template::value::{Text, Value};

/// `left + right`: if one of them escapes, the other is escaped, and so does the result.
pub(super) fn sum(heap: &Heap<'_>, left: &Text, right: &Text) -> Outcome<Value> {
    if !left.is_markup() && !right.is_markup() {
        return heap.value(&joined(heap, left, right)?);
    }
    let part = |text: &Text| match text.is_markup() {
        true => Ok(text.to_vec()),
        false => escaped(heap, text),
    };
    heap.markup(&joined(heap, &part(left)?, &part(right)?)?)
}

fn joined(heap: &Heap<'_>, left: &[Ch], right: &[Ch]) -> Outcome<Vec<Ch>> {
    heap.room(left.len() + right.len())?;
    Ok(left.iter().chain(right).copied().collect())
}

/// The text with the five characters of HTML written out.
pub(super) fn escaped(heap: &Heap<'_>, text: &[Ch]) -> Outcome<Vec<Ch>> {
    // A quote becomes five characters.
    heap.room(text.len() * 5)?;
    let mut made = Vec::with_capacity(text.len());
    for ch in text {
        let name = match ch.get() {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\'' => "&#39;",
            '"' => "&#34;",
            _ => {
                made.push(*ch);
                continue;
            }
        };
        made.extend(name.chars().map(|character| ch.replaced(character)));
    }
    Ok(made)
}
