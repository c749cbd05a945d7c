//! Bytes of a network's matrices at given encodings.

use hardtack_format::{Encoding, SectionKey, SectionKind};
use hardtack_models::{Recipe, TensorSource};

use crate::assignment::{Assignment, Part};

/// Bytes of the parts that have a choice, as they are assigned.
pub fn assigned_bytes(recipe: &Recipe, assignment: &Assignment) -> u64 {
    part_bytes(recipe, assignment, |_| true).0
}

/// Bytes and weights of some parts, as they are assigned.
pub fn part_bytes(
    recipe: &Recipe,
    assignment: &Assignment,
    is_wanted: fn(Part) -> bool,
) -> (u64, u64) {
    let mut sums = (0, 0);
    let mut add = |section: SectionKey, tensors: &[TensorSource]| {
        for source in tensors.iter().filter(|source| !source.is_vector()) {
            if Part::of(section, source.role).is_some_and(is_wanted) {
                sums.0 += bytes(source, assignment.of(section, source.role));
                sums.1 +=
                    u64::from(source.stack) * u64::from(source.rows) * u64::from(source.columns);
            }
        }
    };
    add(SectionKey::only(SectionKind::Globals), &recipe.globals);
    for (index, layer) in (0..).zip(&recipe.layers) {
        add(SectionKey::layer(index), &layer.tensors);
        for (expert, tensors) in (0..).zip(&layer.experts) {
            add(SectionKey::expert(index, expert), tensors);
        }
    }
    sums
}

/// Bytes of a tensor at an encoding.
pub fn bytes(source: &TensorSource, encoding: Encoding) -> u64 {
    encoding.tensor_bytes(source.stack, source.rows, source.columns).unwrap_or(u64::MAX >> 8)
}
