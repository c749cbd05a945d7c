//! Multi-head and grouped-query attention over cached keys and values.

use hardtack_format::TensorRef;
use hardtack_format::network::GroupedTensors;
use hardtack_format::spec::{AttentionKind, AttentionSpec, HeadNorm};
use hardtack_kernels::hadamard::hadamard;

use super::attend::Segment;
use super::exact::Exact;
use super::ring::{begin, move_queries, segments};
use super::rope::rotate;
use super::{LayerCache, ROW_COST, RingCache, Step, project, token_turns};
use crate::cache::exact::{KvElement, LayerKv};
use crate::cache::shape::{CHUNK, RingShape};
use crate::cpu::multiply::Product;
use crate::cpu::scratch::{Scratch, Turn};

/// Reads the normalized stream, leaves the block's output in the scratch.
pub fn attention(
    spec: &AttentionSpec,
    tensors: &GroupedTensors,
    step: &mut Step<'_>,
    kv: LayerCache<'_>,
) {
    let AttentionKind::Grouped { kv_heads, head_dim, norm } = spec.kind else {
        unreachable!("bound from the same spec")
    };
    project_heads(tensors, step);
    turn_heads(spec, norm, tensors, head_dim as usize, step);
    let sinks = tensors.sinks.map(|sinks| step.cpu.vector(&sinks));
    match kv {
        LayerCache::F16(kv) => attend_exact(spec, (kv_heads, head_dim), sinks, step, kv),
        LayerCache::F32(kv) => attend_exact(spec, (kv_heads, head_dim), sinks, step, kv),
        LayerCache::Ring(layer) => attend_ring(spec, (kv_heads, head_dim), sinks, step, layer),
    }
    let (cpu, tokens, scratch) = (step.cpu, step.tokens, &mut *step.scratch);
    project(
        &cpu,
        tensors.output,
        &mut scratch.attended,
        tokens,
        &mut scratch.staging,
        tensors.output_bias,
        &mut scratch.block,
    );
}

/// Attends over an exact cache.
fn attend_exact<E: KvElement>(
    spec: &AttentionSpec,
    (kv_heads, head_dim): (u32, u32),
    sinks: Option<&[f32]>,
    step: &mut Step<'_>,
    kv: &mut LayerKv<E>,
) {
    let (heads, kv_heads, head_dim) = (spec.heads as usize, kv_heads as usize, head_dim as usize);
    let (cpu, tokens, position) = (step.cpu, step.tokens, step.position);
    let scratch = &mut *step.scratch;
    let width = kv_heads * head_dim;
    for token in 0..tokens {
        kv.first.store(position + token, &scratch.first[token * width..(token + 1) * width]);
        kv.second.store(position + token, &scratch.second[token * width..(token + 1) * width]);
    }

    let width = heads * head_dim;
    let Scratch { query, attended, staged, .. } = scratch;
    let attended = attended.rows(tokens, width);
    let cache = Exact::new(kv, RingShape::of(spec), position, position + tokens);
    let query = |token, head, _| [&query[token * width + head * head_dim..][..head_dim], &[][..]];
    let (group, scale) = (heads / kv_heads, spec.score_scale);
    let segment = Segment { cpu, cache: &cache, position, tokens, group, scale, sinks, query };
    segment.attend(staged, |token, head, result| {
        attended[token * width + head * head_dim..][..head_dim].copy_from_slice(result);
    });
}

/// Attends over a ring, chunk by chunk.
fn attend_ring(
    spec: &AttentionSpec,
    (kv_heads, head_dim): (u32, u32),
    sinks: Option<&[f32]>,
    step: &mut Step<'_>,
    mut layer: RingCache<'_>,
) {
    let (heads, kv_heads, head_dim) = (spec.heads as usize, kv_heads as usize, head_dim as usize);
    let (query, width) = (heads * head_dim, kv_heads * head_dim);
    for (first, tokens) in segments(step.position, step.tokens) {
        let cpu = step.cpu;
        let position = step.position + first;
        begin(step, position, &mut layer);
        let ring = &mut *layer.ring;
        for token in first..first + tokens {
            let Scratch { first, second, .. } = &mut *step.scratch;
            let values = [first, second].map(|values| &mut values[token * width..][..width]);
            ring.store(step.position + token, values);
        }
        let moved = |head: &mut [f32], turns: &[Turn]| {
            rotate(&mut head[..spec.rope_dim as usize], turns, 1.0)
        };
        move_queries(
            step,
            ring.shift(position / CHUNK),
            first * query..(first + tokens) * query,
            head_dim,
            moved,
        );

        let Scratch { query: queries, query_moved, attended, staged, .. } = &mut *step.scratch;
        let (queries, query_moved) = (&**queries, &**query_moved);
        let attended = &mut attended.rows(step.tokens, query)[first * query..];
        let segment = Segment {
            cpu,
            cache: &*ring,
            position,
            tokens,
            group: heads / kv_heads,
            scale: spec.score_scale,
            sinks,
            query: |token, head, moved| {
                let queries = if moved { query_moved } else { queries };
                [&queries[(first + token) * query + head * head_dim..][..head_dim], &[][..]]
            },
        };
        segment.attend(staged, |token, head, result| {
            let attended = &mut attended[token * query + head * head_dim..][..head_dim];
            attended.copy_from_slice(result);
            // Values are kept rotated.
            hadamard(attended);
        });
    }
}

/// Queries, keys and values in one go.
fn project_heads(tensors: &GroupedTensors, step: &mut Step<'_>) {
    let (cpu, tokens, scratch) = (step.cpu, step.tokens, &mut *step.scratch);
    let products =
        [tensors.query, tensors.key, tensors.value].map(|tensor| Product::new(tensor, tokens));
    scratch.normed.prepare(&cpu, tokens, &products);
    let results = products.iter().map(Product::results).sum();
    cpu.multiply(&products, &scratch.normed.activations(), &mut scratch.staging[..results]);

    let outputs = [&mut scratch.query, &mut scratch.first, &mut scratch.second];
    let biases = [tensors.query_bias, tensors.key_bias, tensors.value_bias];
    let mut staging = &scratch.staging[..results];
    for ((product, out), bias) in products.iter().zip(outputs).zip(biases) {
        let (own, rest) = staging.split_at(product.results());
        let elements = tokens * product.tensor.rows as usize;
        cpu.collect(product, own, bias.map(|bias| cpu.vector(&bias)), &mut out[..elements]);
        staging = rest;
    }
}

/// Normalization and RoPE of queries and keys.
fn turn_heads(
    spec: &AttentionSpec,
    norm: HeadNorm,
    tensors: &GroupedTensors,
    head_dim: usize,
    step: &mut Step<'_>,
) {
    let (cpu, network, scratch) = (step.cpu, step.network, &mut *step.scratch);
    let all_turns = &*scratch.turns;
    let rope_dim = spec.rope_dim as usize;
    let (tokens, epsilon) = (step.tokens, network.spec.norm_epsilon);
    let turn = |vectors: &mut [f32], rows: usize, gain: Option<TensorRef>| {
        cpu.for_each_chunk(
            &mut vectors[..tokens * rows],
            rows,
            2 * ROW_COST * rows,
            |token, vector| {
                if let Some(gain) = gain {
                    let gain = cpu.vector(&gain);
                    let width = if norm == HeadNorm::PerHead { head_dim } else { rows };
                    for part in vector.chunks_exact_mut(width) {
                        normalize_in_place(epsilon, gain, part);
                    }
                }
                let turns = token_turns(all_turns, network, token);
                for head in vector.chunks_exact_mut(head_dim) {
                    rotate(&mut head[..rope_dim], turns, spec.rope_scale);
                }
            },
        );
    };
    turn(&mut scratch.query, tensors.query.rows as usize, tensors.query_norm);
    turn(&mut scratch.first, tensors.key.rows as usize, tensors.key_norm);
}

/// RMS normalization of a vector over itself.
pub(super) fn normalize_in_place(epsilon: f32, gain: &[f32], x: &mut [f32]) {
    let mean_square = x.iter().map(|value| value * value).sum::<f32>() / x.len() as f32;
    let scale = 1.0 / (mean_square + epsilon).sqrt();
    x.iter_mut().zip(gain).for_each(|(value, gain)| *value = *value * scale * gain);
}
