//! What a block of attention reads and how much shared memory that takes.

use hardtack_format::spec::{AttentionKind, AttentionSpec};
use hardtack_kernels::ring_shape::CHUNK;

use crate::ring::SPAN_SLOTS;

/// Bytes of shared memory that every device has for a block, less what the kernels declare
/// themselves.
pub const SHARED_BYTES_MAX: usize = 44 << 10;

/// Widths of what attention reads: both parts of a key, and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// The first part of a key: all of it, or the latent.
    pub first: usize,
    /// The second part: none, or the rotated key.
    pub second: usize,
    /// A value, or the latent again.
    pub value: usize,
}

impl Widths {
    /// Of one layer.
    pub fn of(attention: &AttentionSpec) -> Self {
        match attention.kind {
            AttentionKind::Grouped { head_dim, .. } => {
                Self { first: head_dim as usize, second: 0, value: head_dim as usize }
            }
            AttentionKind::Latent { kv_rank, .. } => Self {
                first: kv_rank as usize,
                second: attention.rope_dim as usize,
                value: kv_rank as usize,
            },
        }
    }

    /// Dynamic shared memory of a block of attention: the query, the sum so far, and the parts of
    /// the positions' sets.
    pub const fn shared_bytes(&self) -> usize {
        let parts = if self.value > 1024 { self.value } else { 1024 };
        (self.first + self.second + self.value + parts) * 4
    }

    /// Dynamic shared memory of a block of attention over a ring, for some queries: each of
    /// them, what of it is moved, a span's scores, a part for each slot of it, and the sum so far.
    pub const fn ring_shared_bytes(&self, queries: usize) -> usize {
        let moved = if self.second > 0 { self.second } else { self.first };
        let each =
            self.first + self.second + moved + SPAN_SLOTS * CHUNK + (SPAN_SLOTS + 1) * self.value;
        queries * each * 4
    }

    /// How many queries a block of attention over a ring takes of as many as share keys: 1, 2 or 4.
    pub fn ring_queries(&self, shared: usize) -> usize {
        let fit = [4, 2].into_iter().find(|&queries| {
            shared > queries / 2 && self.ring_shared_bytes(queries) <= SHARED_BYTES_MAX
        });
        fit.unwrap_or(1)
    }
}
