//! The one table of a network's tensors: which roles a spec wants, in what shapes, and which of
//! them may be absent. Readers, families, calibration and `SPEC.md` all follow it.

use crate::role::Role;
use crate::spec::*;

/// A role in one section, with its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What the tensor is for.
    pub role: Role,
    /// `[stack, rows, columns]`; a vector is `[1, 1, length]`.
    pub shape: [u32; 3],
    /// Whether a network can do without it.
    pub optional: bool,
    /// Which block it belongs to.
    pub group: Group,
}

/// The block that a tensor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Outside the layers.
    Globals,
    /// Of a layer: norms, attention, the dense block, the router.
    Layer,
    /// Of a layer's shared expert.
    Shared,
    /// Of a routed expert.
    Expert,
}

/// Most slots of a section.
const SLOTS_MAX: usize = 24;

/// The slots of a section, in ascending order of their roles within each group.
#[derive(Clone, Debug)]
pub struct Slots {
    list: [Option<Slot>; SLOTS_MAX],
    len: usize,
    next: usize,
    group: Group,
}

impl Iterator for Slots {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let slot = *self.list.get(self.next)?;
        self.next += 1;
        slot
    }
}

/// Tensors outside the layers. An absent head is the embedding.
pub fn globals(spec: &ModelSpec) -> Slots {
    let mut slots = Slots::of(Group::Globals);
    slots.matrix(Role::Embedding, spec.vocabulary, spec.hidden);
    slots.vector(Role::FinalNorm, spec.hidden);
    slots.push(Role::Head, [1, spec.vocabulary, spec.hidden], true);
    let rope_dim = spec.layers.iter().map(|layer| layer.attention.rope_dim).max().unwrap_or(0);
    if rope_dim > 0 {
        slots.vector(Role::RopeFrequencies, rope_dim / 2);
    }
    slots
}

/// Tensors of a layer's own section: everything but the routed experts.
pub fn layer(spec: &LayerSpec, hidden: u32) -> Slots {
    let mut slots = Slots::of(Group::Layer);
    slots.vector(Role::AttentionNorm, hidden);
    slots.attention(&spec.attention, hidden);
    slots.vector(Role::FeedForwardNorm, hidden);
    match spec.feed_forward.kind {
        FeedForwardKind::Dense { inner } => slots.block(inner, hidden),
        FeedForwardKind::Experts(experts) => {
            slots.matrix(Role::Router, experts.count, hidden);
            slots.optional(Role::RouterBias, experts.count);
            slots.optional(Role::SharedGate, hidden);
            if experts.shared_inner > 0 {
                slots.group = Group::Shared;
                slots.block(experts.shared_inner, hidden);
            }
        }
    }
    slots
}

/// Tensors of a routed expert's section.
pub fn expert(spec: &ExpertsSpec, hidden: u32) -> Slots {
    let mut slots = Slots::of(Group::Expert);
    slots.block(spec.inner, hidden);
    slots
}

impl Slots {
    fn of(group: Group) -> Self {
        Self { list: [None; SLOTS_MAX], len: 0, next: 0, group }
    }

    fn push(&mut self, role: Role, shape: [u32; 3], optional: bool) {
        self.list[self.len] = Some(Slot { role, shape, optional, group: self.group });
        self.len += 1;
    }

    fn matrix(&mut self, role: Role, rows: u32, columns: u32) {
        self.push(role, [1, rows, columns], false);
    }

    fn vector(&mut self, role: Role, length: u32) {
        self.push(role, [1, 1, length], false);
    }

    fn optional(&mut self, role: Role, length: u32) {
        self.push(role, [1, 1, length], true);
    }

    fn attention(&mut self, attention: &AttentionSpec, hidden: u32) {
        let heads = attention.heads;
        match attention.kind {
            AttentionKind::Grouped { kv_heads, head_dim, norm } => {
                let (query_rows, key_rows) = (heads * head_dim, kv_heads * head_dim);
                self.matrix(Role::Query, query_rows, hidden);
                self.matrix(Role::Key, key_rows, hidden);
                self.matrix(Role::Value, key_rows, hidden);
                self.matrix(Role::Output, hidden, query_rows);
                self.optional(Role::QueryBias, query_rows);
                self.optional(Role::KeyBias, key_rows);
                self.optional(Role::ValueBias, key_rows);
                self.optional(Role::OutputBias, hidden);
                let norms = match norm {
                    HeadNorm::None => None,
                    HeadNorm::PerHead => Some([head_dim, head_dim]),
                    HeadNorm::Whole => Some([query_rows, key_rows]),
                };
                if let Some([query, key]) = norms {
                    self.vector(Role::QueryNorm, query);
                    self.vector(Role::KeyNorm, key);
                }
                self.optional(Role::Sinks, heads);
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
                self.push(Role::KeyUp, [heads, kv_rank, nope_dim], false);
                self.push(Role::ValueUp, [heads, value_dim, kv_rank], false);
            }
        }
    }

    fn block(&mut self, inner: u32, hidden: u32) {
        self.matrix(Role::Gated, inner, hidden);
        self.matrix(Role::Up, inner, hidden);
        self.matrix(Role::Down, hidden, inner);
        self.optional(Role::GatedBias, inner);
        self.optional(Role::UpBias, inner);
        self.optional(Role::DownBias, hidden);
    }
}
