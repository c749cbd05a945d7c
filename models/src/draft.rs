//! What a family says about a checkpoint, before it is held against the checkpoint's tensors.

use hardtack_format::Role;
use hardtack_format::spec::ModelSpec;

use crate::select::Selection;
use crate::slots::{Head, Slot};
use crate::source::Source;

/// A family's answer: the network, and where each of its tensors is.
pub(crate) struct Draft {
    pub family: &'static str,
    pub spec: ModelSpec,
    pub head: Head,
    /// RoPE's frequencies before any factors that the checkpoint stores.
    pub frequencies: Vec<f32>,
    /// What the frequencies are divided by, where a checkpoint stores such factors.
    pub frequency_divisors: Option<Selection>,
    /// Which of the tensors that a network can do without this one has.
    pub optional: Vec<Role>,
    /// Where a tensor is.
    pub locate: Locate,
}

/// Where a slot's tensor is. Never called for RoPE's frequencies.
pub(crate) type Locate = Box<dyn Fn(&Slot) -> Source>;

/// A whole tensor as it is stored.
pub(crate) fn plain(name: String, slot: &Slot) -> Source {
    Source::Stored(whole(name, slot))
}

/// A whole tensor as it is stored, to be narrowed further.
pub(crate) fn whole(name: String, slot: &Slot) -> Selection {
    let (rows, columns) = (slot.rows as usize, slot.columns as usize);
    if !slot.role.is_matrix() {
        Selection::vector(name, columns)
    } else if slot.stack > 1 {
        Selection::stacked(name, slot.stack as usize, rows, columns)
    } else {
        Selection::matrix(name, rows, columns)
    }
}
