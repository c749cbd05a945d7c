//! Which tensors a spec asks for, with their shapes: the same places that
//! `hardtack_format::network` binds.

use hardtack_format::Role;
use hardtack_format::spec::*;

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

/// A tensor that a network asks for: a place, a role and a shape.
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

/// Whether tensors of this role are vectors.
pub(crate) fn is_vector(role: Role) -> bool {
    use Role::*;
    !matches!(
        role,
        Embedding
            | Head
            | Query
            | Key
            | Value
            | Output
            | QueryDown
            | KeyValueDown
            | KeyUp
            | ValueUp
            | Gate
            | Gated
            | Up
            | Down
    )
}

/// Tensors outside the layers.
pub(crate) fn globals(spec: &ModelSpec, head: Head) -> Vec<Slot> {
    let mut slots = Slots::at(Place::Globals);
    slots.matrix(Role::Embedding, spec.vocabulary, spec.hidden);
    slots.vector(Role::FinalNorm, spec.hidden);
    if head == Head::Own {
        slots.matrix(Role::Head, spec.vocabulary, spec.hidden);
    }
    let rope_dim = spec.layers.iter().map(|layer| layer.attention.rope_dim).max().unwrap_or(0);
    if rope_dim > 0 {
        slots.vector(Role::RopeFrequencies, rope_dim / 2);
    }
    slots.list
}

/// Tensors of one layer that every token reads; of those a network can do without (biases, sinks,
/// the shared expert's gate), the ones in `optional`.
pub(crate) fn layer(spec: &ModelSpec, index: u32, optional: &[Role]) -> Vec<Slot> {
    let LayerSpec { attention, feed_forward } = &spec.layers[index as usize];
    let hidden = spec.hidden;
    let mut slots = Slots::at(Place::Layer(index));
    slots.vector(Role::AttentionNorm, hidden);
    slots.attention(attention, hidden, optional);
    slots.vector(Role::FeedForwardNorm, hidden);
    match feed_forward.kind {
        FeedForwardKind::Dense { inner } => slots.block(inner, hidden, optional),
        FeedForwardKind::Experts(experts) => {
            slots.matrix(Role::Gate, experts.count, hidden);
            slots.optional(optional, Role::GateBias, experts.count);
            if experts.shared_inner > 0 {
                slots.optional(optional, Role::SharedGate, hidden);
                slots.place = Place::Shared(index);
                slots.block(experts.shared_inner, hidden, optional);
            }
        }
    }
    slots.list
}

/// Tensors of one expert.
pub(crate) fn expert(
    experts: &ExpertsSpec,
    hidden: u32,
    layer: u32,
    expert: u32,
    optional: &[Role],
) -> Vec<Slot> {
    let mut slots = Slots::at(Place::Expert(layer, expert));
    slots.block(experts.inner, hidden, optional);
    slots.list
}

struct Slots {
    place: Place,
    list: Vec<Slot>,
}

impl Slots {
    fn at(place: Place) -> Self {
        Self { place, list: Vec::new() }
    }

    fn stacked(&mut self, role: Role, stack: u32, rows: u32, columns: u32) {
        self.list.push(Slot { place: self.place, role, stack, rows, columns });
    }

    fn matrix(&mut self, role: Role, rows: u32, columns: u32) {
        self.stacked(role, 1, rows, columns);
    }

    fn vector(&mut self, role: Role, length: u32) {
        self.stacked(role, 1, 1, length);
    }

    fn optional(&mut self, present: &[Role], role: Role, length: u32) {
        if present.contains(&role) {
            self.vector(role, length);
        }
    }

    fn attention(&mut self, attention: &AttentionSpec, hidden: u32, optional: &[Role]) {
        let heads = attention.heads;
        match attention.kind {
            AttentionKind::Grouped { kv_heads, head_dim, norm } => {
                let (query_rows, key_rows) = (heads * head_dim, kv_heads * head_dim);
                self.matrix(Role::Query, query_rows, hidden);
                self.matrix(Role::Key, key_rows, hidden);
                self.matrix(Role::Value, key_rows, hidden);
                self.matrix(Role::Output, hidden, query_rows);
                self.optional(optional, Role::QueryBias, query_rows);
                self.optional(optional, Role::KeyBias, key_rows);
                self.optional(optional, Role::ValueBias, key_rows);
                self.optional(optional, Role::OutputBias, hidden);
                let norms = match norm {
                    HeadNorm::None => None,
                    HeadNorm::PerHead => Some((head_dim, head_dim)),
                    HeadNorm::Whole => Some((query_rows, key_rows)),
                };
                if let Some((query, key)) = norms {
                    self.vector(Role::QueryNorm, query);
                    self.vector(Role::KeyNorm, key);
                }
                self.optional(optional, Role::Sinks, heads);
            }
            AttentionKind::Latent { query_rank, kv_rank, nope_dim, value_dim } => {
                let query_columns = if query_rank == 0 { hidden } else { query_rank };
                self.matrix(Role::Query, heads * attention.query_dim(), query_columns);
                self.matrix(Role::Output, hidden, heads * value_dim);
                if query_rank > 0 {
                    self.matrix(Role::QueryDown, query_rank, hidden);
                    self.vector(Role::QueryDownNorm, query_rank);
                }
                self.matrix(Role::KeyValueDown, kv_rank + attention.rope_dim, hidden);
                self.vector(Role::KeyValueNorm, kv_rank);
                self.stacked(Role::KeyUp, heads, kv_rank, nope_dim);
                self.stacked(Role::ValueUp, heads, value_dim, kv_rank);
            }
        }
    }

    fn block(&mut self, inner: u32, hidden: u32, optional: &[Role]) {
        self.matrix(Role::Gated, inner, hidden);
        self.matrix(Role::Up, inner, hidden);
        self.matrix(Role::Down, hidden, inner);
        self.optional(optional, Role::GatedBias, inner);
        self.optional(optional, Role::UpBias, inner);
        self.optional(optional, Role::DownBias, hidden);
    }
}
