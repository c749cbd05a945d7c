//! Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1) on the cached latents
//! themselves.
//!
//! The key up-projection is applied to the query and the value up-projection to the result, so what
//! is cached for a token is its latent and one rotated key, whatever the number of heads.

use hardtack_format::TensorRef;
use hardtack_format::network::LatentTensors;
use hardtack_format::spec::{AttentionKind, AttentionSpec};

use super::attend::Segment;
use super::attention::normalize_in_place;
use super::exact::Exact;
use super::ring::{begin, move_queries, segments};
use super::rope::rotate;
use super::{LayerCache, RingCache, Step, project, token_turns};
use crate::cache::exact::{KvElement, LayerKv};
use crate::cache::shape::{CHUNK, RingShape};
use crate::cpu::multiply::{Cpu, Product};
use crate::cpu::scratch::{Scratch, Turn};

/// Reads the normalized stream, leaves the block's output in the scratch.
pub fn latent_attention(
    spec: &AttentionSpec,
    tensors: &LatentTensors,
    step: &mut Step<'_>,
    kv: LayerCache<'_>,
) {
    let AttentionKind::Latent { kv_rank, nope_dim, value_dim, .. } = spec.kind else {
        unreachable!("bound from the same spec")
    };
    let (heads, rank) = (spec.heads as usize, kv_rank as usize);
    let (nope, value, rope) = (nope_dim as usize, value_dim as usize, spec.rope_dim as usize);
    project_query(tensors, step);
    make_latents(spec, tensors, rank, step);

    let (cpu, tokens) = (step.cpu, step.tokens);
    let scratch = &mut *step.scratch;
    let inputs = scratch.head_inputs.rows(heads * tokens, nope);
    for (index, query) in
        scratch.query[..tokens * heads * (nope + rope)].chunks_exact_mut(nope + rope).enumerate()
    {
        let (token, head) = (index / heads, index % heads);
        let (plain, turned) = query.split_at_mut(nope);
        rotate(turned, token_turns(&scratch.turns, step.network, token), spec.rope_scale);
        inputs[(head * tokens + token) * nope..][..nope].copy_from_slice(plain);
    }
    per_head(&cpu, tensors.key_up, heads, tokens, scratch);
    match kv {
        LayerCache::F16(kv) => attend_exact(spec, rank, nope, step, kv),
        LayerCache::F32(kv) => attend_exact(spec, rank, nope, step, kv),
        LayerCache::Ring(layer) => attend_ring(spec, rank, nope, step, layer),
    }

    let scratch = &mut *step.scratch;
    per_head(&cpu, tensors.value_up, heads, tokens, scratch);
    let attended = scratch.attended.rows(tokens, heads * value);
    for (index, values) in
        scratch.head_outputs[..heads * tokens * value].chunks_exact(value).enumerate()
    {
        let (head, token) = (index / tokens, index % tokens);
        attended[(token * heads + head) * value..][..value].copy_from_slice(values);
    }
    project(
        &cpu,
        tensors.output,
        &mut scratch.attended,
        tokens,
        &mut scratch.staging,
        None,
        &mut scratch.block,
    );
}

/// Attends over an exact cache of latents.
fn attend_exact<E: KvElement>(
    spec: &AttentionSpec,
    rank: usize,
    nope: usize,
    step: &mut Step<'_>,
    kv: &mut LayerKv<E>,
) {
    let (heads, rope) = (spec.heads as usize, spec.rope_dim as usize);
    let (cpu, tokens, position) = (step.cpu, step.tokens, step.position);
    let Scratch { first, query, head_outputs, head_inputs, staged, .. } = &mut *step.scratch;
    for (token, row) in first.chunks_exact(rank + rope).take(tokens).enumerate() {
        kv.first.store(position + token, &row[..rank]);
        kv.second.store(position + token, &row[rank..]);
    }
    let results = head_inputs.rows(heads * tokens, rank);
    let (query, latent_query) = (&**query, &**head_outputs);
    let cache = Exact::new(kv, RingShape::of(spec), position, position + tokens);
    let segment = Segment {
        cpu,
        cache: &cache,
        position,
        tokens,
        group: heads,
        scale: spec.score_scale,
        sinks: None,
        query: |token, head, _| {
            let turned = &query[(token * heads + head) * (nope + rope) + nope..][..rope];
            [&latent_query[(head * tokens + token) * rank..][..rank], turned]
        },
    };
    segment.attend(staged, |token, head, result| {
        results[(head * tokens + token) * rank..][..rank].copy_from_slice(result);
    });
}

/// Attends over a ring of latents, chunk by chunk.
fn attend_ring(
    spec: &AttentionSpec,
    rank: usize,
    nope: usize,
    step: &mut Step<'_>,
    mut layer: RingCache<'_>,
) {
    let (heads, rope) = (spec.heads as usize, spec.rope_dim as usize);
    let (query, all) = (heads * (nope + rope), step.tokens);
    for (first, tokens) in segments(step.position, all) {
        let cpu = step.cpu;
        let position = step.position + first;
        begin(step, position, &mut layer);
        let ring = &mut *layer.ring;
        let rows = step.scratch.first.chunks_exact_mut(rank + rope).skip(first).take(tokens);
        for (index, row) in rows.enumerate() {
            ring.store(position + index, row.split_at_mut(rank).into());
        }
        let moved = |head: &mut [f32], turns: &[Turn]| rotate(&mut head[nope..], turns, 1.0);
        move_queries(
            step,
            ring.shift(position / CHUNK),
            first * query..(first + tokens) * query,
            nope + rope,
            moved,
        );

        let Scratch { query: queries, query_moved, head_outputs, head_inputs, staged, .. } =
            &mut *step.scratch;
        let (queries, query_moved, latent_queries) = (&**queries, &**query_moved, &**head_outputs);
        let results = head_inputs.rows(heads * all, rank);
        let segment = Segment {
            cpu,
            cache: &*ring,
            position,
            tokens,
            group: heads,
            scale: spec.score_scale,
            sinks: None,
            query: |token, head, moved| {
                let turned = if moved { query_moved } else { queries };
                let turned =
                    &turned[(first + token) * query + head * (nope + rope) + nope..][..rope];
                [&latent_queries[(head * all + first + token) * rank..][..rank], turned]
            },
        };
        segment.attend(staged, |token, head, result| {
            results[(head * all + first + token) * rank..][..rank].copy_from_slice(result);
        });
    }
}

/// The query, in one projection or in two with a normalization between.
fn project_query(tensors: &LatentTensors, step: &mut Step<'_>) {
    let (cpu, tokens, epsilon) = (step.cpu, step.tokens, step.network.spec.norm_epsilon);
    let Scratch { normed, query_low, query, staging, .. } = &mut *step.scratch;
    let Some((down, gain)) = tensors.query_down else {
        return project(&cpu, tensors.query, normed, tokens, staging, None, query);
    };
    let low = down.rows as usize;
    let rows = query_low.rows(tokens, low);
    project(&cpu, down, normed, tokens, staging, None, rows);
    rows.chunks_exact_mut(low).for_each(|row| normalize_in_place(epsilon, cpu.vector(&gain), row));
    project(&cpu, tensors.query, query_low, tokens, staging, None, query);
}

/// Latents and rotated keys of the step's tokens, `[tokens, rank + rope_dim]`, in the scratch's
/// `first`.
fn make_latents(spec: &AttentionSpec, tensors: &LatentTensors, rank: usize, step: &mut Step<'_>) {
    let (cpu, network, tokens) = (step.cpu, step.network, step.tokens);
    let Scratch { normed, first, staging, turns, .. } = &mut *step.scratch;
    project(&cpu, tensors.key_value_down, normed, tokens, staging, None, first);
    let width = rank + spec.rope_dim as usize;
    for (token, row) in first[..tokens * width].chunks_exact_mut(width).enumerate() {
        let (latent, key) = row.split_at_mut(rank);
        normalize_in_place(network.spec.norm_epsilon, cpu.vector(&tensors.key_value_norm), latent);
        rotate(key, token_turns(turns, network, token), spec.rope_scale);
    }
}

/// A matrix for each head times that head's rows: `[heads, tokens, columns]` to `[heads, tokens,
/// rows]`.
fn per_head(cpu: &Cpu<'_>, tensor: TensorRef, heads: usize, tokens: usize, scratch: &mut Scratch) {
    let Scratch { head_inputs, head_outputs, products, staging, .. } = scratch;
    products.clear();
    products.extend((0..heads as u32).map(|head| Product {
        tensor,
        stack: head,
        first_token: head * tokens as u32,
        tokens: tokens as u32,
    }));
    head_inputs.prepare(cpu, heads * tokens, products);
    let results = products.iter().map(Product::results).sum();
    cpu.multiply(products, &head_inputs.activations(), &mut staging[..results]);
    let rows = tensor.rows as usize * tokens;
    let each = results / heads;
    for ((product, own), out) in products
        .iter()
        .zip(staging[..results].chunks_exact(each))
        .zip(head_outputs.chunks_exact_mut(rows))
    {
        cpu.collect(product, own, None, out);
    }
}
