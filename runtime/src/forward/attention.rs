//! Multi-head and grouped-query attention over cached keys and values.

use hardtack_format::TensorRef;
use hardtack_format::network::GroupedTensors;
use hardtack_format::spec::{AttentionKind, AttentionSpec, HeadNorm};
use hardtack_kernels::hadamard::hadamard;

use super::ring::{Segment, begin, move_queries, segments};
use super::rope::rotate;
use super::{LayerCache, RingCache, Step, project, token_turns};
use crate::backend::cpu::{Product, collect};
use crate::kv::exact::{KvElement, LayerKv};
use crate::kv::shape::CHUNK;
use crate::scratch::{Scratch, Turn};

/// Positions that are scored at once; their scores live on the stack.
const BLOCK: usize = 64;

/// Reads the normalized stream, leaves the block's output in the scratch.
pub fn attention(spec: &AttentionSpec, tensors: &GroupedTensors, step: &mut Step<'_>, kv: LayerCache<'_>) {
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

    let (query, kv) = (&scratch.query[..tokens * heads * head_dim], &*kv);
    let attended = scratch.attended.rows(tokens, heads * head_dim);
    cpu.for_each_chunk(attended, head_dim, |index, out| {
        let (token, head) = (index / heads, index % heads);
        let view = View {
            query: &query[index * head_dim..(index + 1) * head_dim],
            end: position + token + 1,
            window: spec.window as usize,
            sink: sinks.map(|sinks| sinks[head]),
        };
        let kv_head = head / (heads / kv_heads);
        attend(
            cpu.kernels,
            &view,
            spec.score_scale,
            out,
            |scores, query, first| {
                let keys = kv.first.span(kv_head, first, scores.len());
                for (score, key) in scores.iter_mut().zip(keys.chunks_exact(head_dim)) {
                    *score = E::dot(cpu.kernels, query, key);
                }
            },
            |out, weights, first| {
                let values = kv.second.span(kv_head, first, weights.len());
                for (&weight, value) in weights.iter().zip(values.chunks_exact(head_dim)) {
                    E::add_scaled(cpu.kernels, out, weight, value);
                }
            },
        );
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
        let moved = |head: &mut [f32], turns: &[Turn]| rotate(&mut head[..spec.rope_dim as usize], turns, 1.0);
        move_queries(step, ring.shift(position / CHUNK), first * query..(first + tokens) * query, head_dim, moved);

        let Scratch { query: queries, query_moved, attended, staged, .. } = &mut *step.scratch;
        let (queries, query_moved) = (&**queries, &**query_moved);
        let attended = &mut attended.rows(step.tokens, query)[first * query..];
        let segment = Segment {
            cpu,
            layer: ring,
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
    let products = [tensors.query, tensors.key, tensors.value].map(|tensor| Product::new(tensor, tokens));
    scratch.normed.prepare(cpu.kernels, tokens, &products);
    let results = products.iter().map(Product::results).sum();
    cpu.multiply(&products, &scratch.normed.activations(), &mut scratch.staging[..results]);

    let outputs = [&mut scratch.query, &mut scratch.first, &mut scratch.second];
    let biases = [tensors.query_bias, tensors.key_bias, tensors.value_bias];
    let mut staging = &scratch.staging[..results];
    for ((product, out), bias) in products.iter().zip(outputs).zip(biases) {
        let (own, rest) = staging.split_at(product.results());
        let elements = tokens * product.tensor.rows as usize;
        collect(product, own, bias.map(|bias| cpu.vector(&bias)), &mut out[..elements]);
        staging = rest;
    }
}

/// Normalization and RoPE of queries and keys.
fn turn_heads(spec: &AttentionSpec, norm: HeadNorm, tensors: &GroupedTensors, head_dim: usize, step: &mut Step<'_>) {
    let (cpu, network, scratch) = (step.cpu, step.network, &mut *step.scratch);
    let all_turns = &*scratch.turns;
    let rope_dim = spec.rope_dim as usize;
    let turn = |vectors: &mut [f32], rows: usize, gain: Option<TensorRef>| {
        for (token, vector) in vectors.chunks_exact_mut(rows).take(step.tokens).enumerate() {
            if let Some(gain) = gain {
                let gain = cpu.vector(&gain);
                let width = if norm == HeadNorm::PerHead { head_dim } else { rows };
                for part in vector.chunks_exact_mut(width) {
                    normalize_in_place(step.network.spec.norm_epsilon, gain, part);
                }
            }
            let turns = token_turns(all_turns, network, token);
            for head in vector.chunks_exact_mut(head_dim) {
                rotate(&mut head[..rope_dim], turns, spec.rope_scale);
            }
        }
    };
    turn(&mut scratch.query, tensors.query.rows as usize, tensors.query_norm);
    turn(&mut scratch.first, tensors.key.rows as usize, tensors.key_norm);
}

/// What one head of one token looks at.
pub(super) struct View<'a> {
    /// The query.
    pub query: &'a [f32],
    /// One past the last position it sees.
    pub end: usize,
    /// How many positions back it sees, itself included; 0 for all.
    pub window: usize,
    /// A logit for attending to nothing.
    pub sink: Option<f32>,
}

/// Softmax attention in one pass over blocks of positions (arXiv 2205.14135, algorithm 1): a running maximum and sum, the
/// output rescaled when the maximum grows. Blocks stand at fixed positions, so the pieces a prompt came in change nothing.
///
/// `score(scores, query, first)` fills the scores of the positions from `first` on; `gather(out, weights, first)` adds
/// their values by weight.
pub(super) fn attend(
    kernels: &hardtack_kernels::KernelTable,
    view: &View<'_>,
    scale: f32,
    out: &mut [f32],
    score: impl Fn(&mut [f32], &[f32], usize),
    gather: impl Fn(&mut [f32], &[f32], usize),
) {
    out.fill(0.0);
    let mut scores = [0.0; BLOCK];
    // The sink takes part in the softmax and has no value.
    let (mut maximum, mut sum) = view.sink.map_or((f32::NEG_INFINITY, 0.0), |sink| (sink, 1.0));
    let mut first = if view.window == 0 { 0 } else { view.end.saturating_sub(view.window) };
    while first < view.end {
        let last = ((first / BLOCK + 1) * BLOCK).min(view.end);
        let scores = &mut scores[..last - first];
        score(scores, view.query, first);
        scores.iter_mut().for_each(|score| *score *= scale);
        let largest = (kernels.maximum)(scores);
        if largest > maximum {
            let shrink = hardtack_kernels::math::exp(maximum - largest);
            out.iter_mut().for_each(|value| *value *= shrink);
            (maximum, sum) = (largest, sum * shrink);
        }
        sum += (kernels.exp_sum)(scores, maximum);
        gather(out, scores, first);
        first = last;
    }
    let inverse = 1.0 / sum;
    out.iter_mut().for_each(|value| *value *= inverse);
}

/// RMS normalization of a vector over itself.
pub(super) fn normalize_in_place(epsilon: f32, gain: &[f32], x: &mut [f32]) {
    let mean_square = x.iter().map(|value| value * value).sum::<f32>() / x.len() as f32;
    let scale = 1.0 / (mean_square + epsilon).sqrt();
    x.iter_mut().zip(gain).for_each(|(value, gain)| *value = *value * scale * gain);
}
