//! What a checkpoint's tensors say where its configuration says nothing or something else: tensors
//! outrank it.

use hardtack_format::Role;
use hardtack_format::limits::VOCABULARY_MAX;

use crate::draft::Draft;
use crate::slots::{self, BIASES, Head, Place, Slot};
use crate::source::{Source, TensorSource};
use crate::tensors::Names;

/// Whether a configuration says that the embeddings serve as head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TiedFlag {
    /// It says that they do.
    Tied,
    /// It says that there is a head.
    Own,
    /// It says nothing.
    Absent,
}

/// Brings a draft in line with what is stored. Returns what a person should know, one line each,
/// and a head that is stored beside the embeddings which the configuration ties to: whoever can
/// read both decides.
pub(crate) fn settle(
    draft: &mut Draft,
    flag: TiedFlag,
    names: &dyn Names,
) -> (Vec<String>, Option<TensorSource>) {
    let mut warnings = Vec::new();
    settle_rows(draft, names, &mut warnings);
    settle_biases(draft, names, &mut warnings);
    (warnings, settle_head(draft, flag, names))
}

/// The number of tokens is the number of the embedding's rows.
fn settle_rows(draft: &mut Draft, names: &dyn Names, warnings: &mut Vec<String>) {
    let Some((name, shape)) = stored(draft, embedding(draft, Role::Embedding), names) else {
        return;
    };
    let expected = draft.spec.vocabulary;
    match shape[..] {
        [rows, hidden] if hidden == draft.spec.hidden as usize && rows != expected as usize => {
            let Some(rows) = u32::try_from(rows).ok().filter(|rows| *rows <= VOCABULARY_MAX) else {
                return;
            };
            warnings
                .push(format!("the configuration speaks of {expected} tokens, {name} has {rows} rows: {rows} it is"));
            draft.spec.vocabulary = rows;
        }
        _ => {}
    }
}

/// A bias that the first layer has is there, announced or not. One that is announced and not there
/// is missing.
fn settle_biases(draft: &mut Draft, names: &dyn Names, warnings: &mut Vec<String>) {
    let found: Vec<(Role, String)> = slots::layer(&draft.spec, 0, &BIASES)
        .into_iter()
        .filter(|slot| BIASES.contains(&slot.role) && slot.place == Place::Layer(0))
        .filter(|slot| !draft.optional.contains(&slot.role))
        .filter_map(|slot| Some((slot.role, stored(draft, slot, names)?.0)))
        .collect();
    for (role, name) in found {
        warnings.push(format!(
            "the configuration does not speak of {name}: it is there and will be used"
        ));
        draft.optional.push(role);
    }
}

fn settle_head(draft: &mut Draft, flag: TiedFlag, names: &dyn Names) -> Option<TensorSource> {
    let slot = embedding(draft, Role::Head);
    let is_stored = stored(draft, slot, names).is_some();
    match flag {
        TiedFlag::Tied if is_stored => Some(TensorSource::new(&slot, (draft.locate)(&slot))),
        TiedFlag::Absent
            if !is_stored && stored(draft, embedding(draft, Role::Embedding), names).is_some() =>
        {
            draft.head = Head::Tied;
            None
        }
        _ => None,
    }
}

fn embedding(draft: &Draft, role: Role) -> Slot {
    Slot {
        place: Place::Globals,
        role,
        stack: 1,
        rows: draft.spec.vocabulary,
        columns: draft.spec.hidden,
    }
}

/// Name and shape of the stored tensor that a slot would be read from.
fn stored(draft: &Draft, slot: Slot, names: &dyn Names) -> Option<(String, Vec<usize>)> {
    let Source::Stored(selection) = (draft.locate)(&slot) else { return None };
    let (name, _) = selection.stored().into_iter().next()?;
    Some((name.to_owned(), names.shape(name)?))
}
