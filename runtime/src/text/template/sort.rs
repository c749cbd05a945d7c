//! Sorts as Python does: by `<` alone, without moving what is equal, up to the first comparison
//! that fails.
//!
//! The standard library's sort may panic where an order contradicts itself, and values that are no
//! numbers do that to every order they are in.

use std::cmp::Ordering;

use crate::text::template::compare;
use crate::text::template::heap::{Heap, Outcome};
use crate::text::template::value::Value;

/// The items by a key, ascending or descending.
pub(super) fn sorted<T>(
    heap: &Heap<'_>,
    items: Vec<T>,
    key: impl Fn(&T) -> &Value,
    reverse: bool,
) -> Outcome<Vec<T>> {
    let is_less = |one: usize, other: usize| {
        let order = compare::order(heap, key(&items[one]), key(&items[other]), "<")?;
        Ok(order == Some(Ordering::Less))
    };
    // Of two that are equal the left one stays left.
    let moves = |left, right| if reverse { is_less(left, right) } else { is_less(right, left) };
    let order = merged(items.len(), moves)?;
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|place| items[place].take()).collect())
}

/// The places of items in their order; `moves(left, right)` says whether the right one must come
/// first. Runs of sorted places are merged, twice as long each time.
fn merged(count: usize, moves: impl Fn(usize, usize) -> Outcome<bool>) -> Outcome<Vec<usize>> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut width = 1;
    while width < count {
        let mut next = Vec::with_capacity(count);
        for pair in order.chunks(2 * width) {
            let (mut left, mut right) = pair.split_at(width.min(pair.len()));
            while let (Some(&one), Some(&other)) = (left.first(), right.first()) {
                if moves(one, other)? {
                    next.push(other);
                    right = &right[1..];
                } else {
                    next.push(one);
                    left = &left[1..];
                }
            }
            next.extend(left.iter().chain(right));
        }
        order = next;
        width *= 2;
    }
    Ok(order)
}
