//! Element types that cannot be read: all of a checkpoint's are named at once, with their tensors.

use std::collections::BTreeMap;

use super::SourceError;

/// Types that one message names.
const SHOWN: usize = 8;

/// Tensors of types that cannot be read, by type.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    types: BTreeMap<String, Tensors>,
}

#[derive(Debug)]
struct Tensors {
    count: usize,
    first: String,
}

impl Unreadable {
    pub fn add(&mut self, kind: impl Into<String>, tensor: &str) {
        self.types
            .entry(kind.into())
            .or_insert_with(|| Tensors { count: 0, first: tensor.to_owned() })
            .count += 1;
    }

    /// The error, if there are any among the `tensors` of a checkpoint; `advice` says what to do.
    pub fn refuse(
        &self,
        file: &str,
        tensors: usize,
        advice: &'static str,
    ) -> Result<(), SourceError> {
        if self.types.is_empty() {
            return Ok(());
        }
        let mut types: Vec<String> = self
            .types
            .iter()
            .take(SHOWN)
            .map(|(kind, Tensors { count, first })| {
                format!("{kind} (tensors: {count}, the first {first})")
            })
            .collect();
        if self.types.len() > SHOWN {
            types.push(format!("{} more", self.types.len() - SHOWN));
        }
        Err(SourceError::UnreadableTypes {
            file: file.to_owned(),
            types: types.join(", "),
            found: self.types.values().map(|own| own.count).sum(),
            tensors,
            advice,
        })
    }
}
