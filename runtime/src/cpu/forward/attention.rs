//! Multi-head and grouped-query attention over cached keys and values.

use std::ops::Range;

use hardtack_format::TensorRef;
use hardtack_format::encoding::PANEL_ROWS;
use hardtack_format::kv_policy::LayerPolicy;
use hardtack_format::network::GroupedTensors;
use hardtack_format::spec::{AttentionKind, AttentionSpec, HeadNorm};
use hardtack_kernels::hadamard::hadamard;
use hardtack_kernels::rope::Turn;

use super::attend::{self, Attend};
use super::batch::{Batch, ROW_COST};
use super::cached::Cached;
use super::rope::{self, Turns, rotate};
use super::shared::{Shared, normalize_in_place, project};
use crate::cache::LayerCache;
use crate::cache::ring::codes_max;
use crate::cache::shape::RingShape;
use crate::cpu::buffer::{Buffer, buffers};
use crate::cpu::inputs::Inputs;
use crate::cpu::multiply::{Product, Workspace};

buffers! {
    /// What attention works with, on keys and values or on latents.
    pub struct Scratch {
        /// `[batch, heads * query_dim]`
        pub query: Buffer<f32>,
        /// `[batch, kv_heads * head_dim]`; or latents with rotated keys, `[batch, rank +
        /// rope_dim]`.
        pub keys: Buffer<f32>,
        /// `[batch, kv_heads * head_dim]`; none for latents.
        pub values: Buffer<f32>,
        /// `[batch, heads * value_dim]`: the results, which the output matrix reads.
        pub attended: Inputs,
        /// Results by blocks of queries.
        pub staged: Buffer<f32>,
        /// `[batch, heads * query_dim]`: queries turned back (ring).
        pub query_moved: Buffer<f32>,
        /// `[frequencies]`: the turns that do so (ring).
        pub turn_back: Buffer<Turn>,
        /// Codes of a chunk that is sealed (ring).
        pub sealing: Buffer<u8>,
    }
}

impl Scratch {
    /// Has room for a layer with keys and values.
    pub fn need(&mut self, spec: &AttentionSpec, batch: usize, ring: bool, work: &mut Workspace) {
        self.need_queries(spec, batch, ring);
        let query = (spec.heads * spec.query_dim()) as usize;
        let (keys, values) = spec.cached();
        let (keys, values) = (keys as usize, values as usize);
        self.keys.need(batch * keys);
        self.values.need(batch * values);
        self.attended.need(batch, query);
        let panels: usize =
            [query, keys, values].map(|rows| rows.div_ceil(PANEL_ROWS)).iter().sum();
        work.need(3, batch * panels);
    }

    /// Has room for a layer's queries and for attending with them.
    pub fn need_queries(&mut self, spec: &AttentionSpec, batch: usize, ring: bool) {
        let query = (spec.heads * spec.query_dim()) as usize;
        self.query.need(batch * query);
        self.staged.need(attend::staged(spec, batch, ring));
        if ring {
            self.query_moved.need(batch * query);
            self.turn_back.need(spec.rope_dim as usize / 2);
            self.sealing.need(codes_max(&RingShape::of(spec)));
        }
    }

    /// Turns queries back by as much as the first chunk's keys are moved forward, which stay as
    /// they are. `turn(head, turns)` turns one head of `width` numbers.
    pub fn move_queries(
        &mut self,
        batch: &Batch<'_>,
        shift: usize,
        span: Range<usize>,
        width: usize,
        turn: impl Fn(&mut [f32], &[Turn]),
    ) {
        let Some(frequencies) = batch.network.rope_frequencies.filter(|_| shift > 0) else {
            return;
        };
        let frequencies = batch.cpu.vector(&frequencies);
        let turn_back = &mut self.turn_back[..frequencies.len()];
        rope::turns(shift, frequencies, turn_back);
        turn_back.iter_mut().for_each(|[sine, _]| *sine = -*sine);
        let moved = &mut self.query_moved[span.clone()];
        moved.copy_from_slice(&self.query[span]);
        moved.chunks_exact_mut(width).for_each(|head| turn(head, turn_back));
    }
}

/// What one layer keeps, and what its model says of a ring's bits.
pub struct Kept<'a> {
    /// The cache.
    pub cache: &'a mut LayerCache,
    /// What bits cost.
    pub policy: Option<&'a LayerPolicy>,
}

/// Reads the normalized stream, leaves the block's output in what is shared.
pub fn attention(
    batch: &Batch<'_>,
    spec: &AttentionSpec,
    tensors: &GroupedTensors,
    kept: Kept<'_>,
    shared: &mut Shared,
    scratch: &mut Scratch,
) {
    let AttentionKind::Grouped { kv_heads, head_dim, norm } = spec.kind else {
        unreachable!("bound from the same spec")
    };
    let (heads, kv_heads, head_dim) = (spec.heads as usize, kv_heads as usize, head_dim as usize);
    let (width, kv_width) = (heads * head_dim, kv_heads * head_dim);
    project_heads(batch, tensors, shared, scratch);
    turn_heads(batch, spec, norm, tensors, &shared.turns, scratch);

    let Kept { cache, policy } = kept;
    let (cpu, mut first) = (batch.cpu, 0);
    while first < batch.tokens {
        let position = batch.position + first;
        let tokens = cache.together(position, batch.tokens - first);
        cache.begin(position, policy, &mut scratch.sealing);
        for token in first..first + tokens {
            let row = token * kv_width..(token + 1) * kv_width;
            let values = [&mut scratch.keys[row.clone()], &mut scratch.values[row]];
            cache.store(batch.position + token, values);
        }
        let span = first * width..(first + tokens) * width;
        scratch.move_queries(batch, cache.shift(position), span, head_dim, |head, turns| {
            rotate(&mut head[..spec.rope_dim as usize], turns, 1.0);
        });

        let Scratch { query, query_moved, attended, staged, .. } = &mut *scratch;
        let (query, query_moved) = (&**query, &**query_moved);
        let attended = &mut attended.rows(batch.tokens, width)[first * width..];
        let turned = cache.turns_values();
        let attend = Attend {
            cpu,
            cached: Cached::new(cache, position, position + tokens),
            position,
            tokens,
            group: heads / kv_heads,
            scale: spec.score_scale,
            sinks: tensors.sinks.map(|sinks| cpu.vector(&sinks)),
            query: |token, head, moved| {
                let query = if moved { query_moved } else { query };
                [&query[(first + token) * width + head * head_dim..][..head_dim], &[][..]]
            },
        };
        attend.run(staged, |token, head, result| {
            let attended = &mut attended[token * width + head * head_dim..][..head_dim];
            attended.copy_from_slice(result);
            if turned {
                hadamard(attended);
            }
        });
        first += tokens;
    }
    let Shared { work, block, .. } = shared;
    let (bias, attended) = (tensors.output_bias, &mut scratch.attended);
    project(&cpu, tensors.output, attended, batch.tokens, &mut work.staging, bias, block);
}

/// Queries, keys and values in one go.
fn project_heads(
    batch: &Batch<'_>,
    tensors: &GroupedTensors,
    shared: &mut Shared,
    scratch: &mut Scratch,
) {
    let (cpu, tokens) = (batch.cpu, batch.tokens);
    let products =
        [tensors.query, tensors.key, tensors.value].map(|tensor| Product::new(tensor, tokens));
    let Shared { normed, work, .. } = shared;
    normed.prepare(&cpu, tokens, &products);
    let mut results = cpu.multiply(&products, &normed.activations(), &mut work.staging);

    let outputs = [&mut scratch.query, &mut scratch.keys, &mut scratch.values];
    let biases = [tensors.query_bias, tensors.key_bias, tensors.value_bias];
    for ((product, out), bias) in products.iter().zip(outputs).zip(biases) {
        let (own, rest) = results.split_at(product.results());
        let elements = tokens * product.tensor.rows as usize;
        cpu.collect(product, own, bias.map(|bias| cpu.vector(&bias)), &mut out[..elements]);
        results = rest;
    }
}

/// Normalization and RoPE of queries and keys.
fn turn_heads(
    batch: &Batch<'_>,
    spec: &AttentionSpec,
    norm: HeadNorm,
    tensors: &GroupedTensors,
    turns: &Turns,
    scratch: &mut Scratch,
) {
    let AttentionKind::Grouped { head_dim, .. } = spec.kind else { unreachable!() };
    let (head_dim, rope_dim) = (head_dim as usize, spec.rope_dim as usize);
    let (cpu, tokens, epsilon) = (batch.cpu, batch.tokens, batch.network.spec.norm_epsilon);
    let turn = |vectors: &mut [f32], rows: usize, gain: Option<TensorRef>| {
        let vectors = &mut vectors[..tokens * rows];
        cpu.for_each_chunk(vectors, rows, 2 * ROW_COST * rows, |token, vector| {
            if let Some(gain) = gain {
                let gain = cpu.vector(&gain);
                let width = if norm == HeadNorm::PerHead { head_dim } else { rows };
                for part in vector.chunks_exact_mut(width) {
                    normalize_in_place(epsilon, gain, part);
                }
            }
            let turns = turns.of(batch, token);
            for head in vector.chunks_exact_mut(head_dim) {
                rotate(&mut head[..rope_dim], turns, spec.rope_scale);
            }
        });
    };
    turn(&mut scratch.query, tensors.query.rows as usize, tensors.query_norm);
    turn(&mut scratch.keys, tensors.key.rows as usize, tensors.key_norm);
}
