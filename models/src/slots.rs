//! The slots of a network in their places: which layer, which expert. What a layer has is
//! `hardtack_format::slots`.

use hardtack_format::Role;
use hardtack_format::slots::{self, Group};
use hardtack_format::spec::{ExpertsSpec, FeedForwardKind, ModelSpec};

/// Biases of a layer that a checkpoint may have, whatever its settings say.
pub(crate) const BIASES: [Role; 7] = [
    Role::QueryBias,
    Role::KeyBias,
    Role::ValueBias,
    Role::OutputBias,
    Role::GatedBias,
    Role::UpBias,
    Role::DownBias,
];

/// Where in a network a tensor belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Outside the layers.
    Globals,
    /// In a layer.
    Layer(u32),
    /// In the shared expert of a layer.
    Shared(u32),
    /// In an expert of a layer.
    Expert(u32, u32),
}

/// A tensor that a network wants: a place, a role and a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub place: Place,
    pub role: Role,
    pub stack: u32,
    pub rows: u32,
    pub columns: u32,
}

/// Whether a checkpoint has an output head of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// It has.
    Own,
    /// The embeddings serve.
    Tied,
}

/// Tensors outside the layers.
pub(crate) fn globals(spec: &ModelSpec, head: Head) -> Vec<Slot> {
    let present: &[Role] = if head == Head::Own { &[Role::Head] } else { &[] };
    slots::globals(spec).filter_map(|slot| placed(slot, present, (0, 0))).collect()
}

/// Tensors of one layer that every token reads; of those a network can do without (biases, sinks,
/// the shared expert's gate), the ones in `present`.
pub(crate) fn layer(spec: &ModelSpec, index: u32, present: &[Role]) -> Vec<Slot> {
    let layer = &spec.layers[index as usize];
    let has_shared = match layer.feed_forward.kind {
        FeedForwardKind::Dense { .. } => false,
        FeedForwardKind::Experts(experts) => experts.shared_inner > 0,
    };
    slots::layer(layer, spec.hidden)
        .filter(|slot| has_shared || slot.role != Role::SharedGate)
        .filter_map(|slot| placed(slot, present, (index, 0)))
        .collect()
}

/// Tensors of one expert.
pub(crate) fn expert(
    experts: &ExpertsSpec,
    hidden: u32,
    layer: u32,
    expert: u32,
    present: &[Role],
) -> Vec<Slot> {
    slots::expert(experts, hidden)
        .filter_map(|slot| placed(slot, present, (layer, expert)))
        .collect()
}

/// A slot in its place; none where it is optional and not present.
fn placed(slot: slots::Slot, present: &[Role], (layer, expert): (u32, u32)) -> Option<Slot> {
    let slots::Slot { role, shape: [stack, rows, columns], optional, group } = slot;
    if optional && !present.contains(&role) {
        return None;
    }
    let place = match group {
        Group::Globals => Place::Globals,
        Group::Layer => Place::Layer(layer),
        Group::Shared => Place::Shared(layer),
        Group::Expert => Place::Expert(layer, expert),
    };
    Some(Slot { place, role, stack, rows, columns })
}
