//! Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1) on the cached latents
//! themselves.
//!
//! The key up-projection is applied to the query and the value up-projection to the result, so what
//! is cached for a token is its latent and one rotated key, whatever the number of heads.

use hardtack_format::TensorRef;
use hardtack_format::encoding::PANEL_ROWS;
use hardtack_format::network::LatentTensors;
use hardtack_format::spec::{AttentionKind, AttentionSpec};

use super::attend::Attend;
use super::attention::{self, Kept};
use super::batch::Batch;
use super::cached::Cached;
use super::rope::rotate;
use super::shared::{Shared, normalize_in_place, project};
use crate::cpu::buffer::{Buffer, buffers};
use crate::cpu::inputs::Inputs;
use crate::cpu::multiply::{Product, Workspace};

buffers! {
    /// What latent attention works with besides.
    pub struct Scratch {
        /// `[batch, query_rank]`: the query between its two projections.
        query_low: Inputs,
        /// `[heads, batch, nope_dim or kv_rank]`: inputs of per-head matrices.
        head_inputs: Inputs,
        /// `[heads, batch, kv_rank or value_dim]`: their outputs.
        head_outputs: Buffer<f32>,
    }
}

impl Scratch {
    /// Has room for a layer with latents.
    pub fn need(
        &mut self,
        spec: &AttentionSpec,
        batch: usize,
        ring: bool,
        common: &mut attention::Scratch,
        work: &mut Workspace,
    ) {
        let AttentionKind::Latent { query_rank, kv_rank, nope_dim, value_dim } = spec.kind else {
            return;
        };
        let (heads, low, rank) = (spec.heads as usize, query_rank as usize, kv_rank as usize);
        let (nope, value) = (nope_dim as usize, value_dim as usize);
        let (query, latents) = (heads * spec.query_dim() as usize, rank + spec.rope_dim as usize);
        common.need_queries(spec, batch, ring);
        common.keys.need(batch * latents);
        common.attended.need(batch, heads * value);
        self.query_low.need(batch, low);
        self.head_inputs.need(batch * heads, nope);
        self.head_inputs.need(batch * heads, rank);
        self.head_outputs.need(batch * heads * rank.max(value));
        let panels = |rows: usize| rows.div_ceil(PANEL_ROWS);
        work.need(1, batch * panels(low.max(query)).max(panels(latents)));
        work.need(heads, batch * heads * panels(rank.max(value)));
    }
}

/// Reads the normalized stream, leaves the block's output in what is shared.
pub fn latent_attention(
    batch: &Batch<'_>,
    spec: &AttentionSpec,
    tensors: &LatentTensors,
    kept: Kept<'_>,
    shared: &mut Shared,
    common: &mut attention::Scratch,
    scratch: &mut Scratch,
) {
    let AttentionKind::Latent { kv_rank, nope_dim, value_dim, .. } = spec.kind else {
        unreachable!("bound from the same spec")
    };
    let (heads, rank, value) = (spec.heads as usize, kv_rank as usize, value_dim as usize);
    let (nope, rope) = (nope_dim as usize, spec.rope_dim as usize);
    let (all, query_dim) = (batch.tokens, nope + rope);
    project_query(batch, tensors, shared, common, scratch);
    make_latents(batch, spec, tensors, rank, shared, common);
    turn_queries(batch, spec, nope, shared, common, scratch);
    per_head(batch, tensors.key_up, heads, scratch, &mut shared.work);

    let (Kept { cache, policy }, width) = (kept, rank + rope);
    let (cpu, mut first) = (batch.cpu, 0);
    while first < all {
        let position = batch.position + first;
        let tokens = cache.together(position, all - first);
        cache.begin(position, policy, &mut common.sealing);
        let rows = common.keys.chunks_exact_mut(width).skip(first).take(tokens);
        for (index, row) in rows.enumerate() {
            cache.store(position + index, row.split_at_mut(rank).into());
        }
        let span = first * heads * query_dim..(first + tokens) * heads * query_dim;
        common.move_queries(batch, cache.shift(position), span, query_dim, |head, turns| {
            rotate(&mut head[nope..], turns, 1.0);
        });

        let attention::Scratch { query, query_moved, staged, .. } = &mut *common;
        let (query, query_moved, latent_query) = (&**query, &**query_moved, &*scratch.head_outputs);
        let results = scratch.head_inputs.rows(heads * all, rank);
        let attend = Attend {
            cpu,
            cached: Cached::new(cache, position, position + tokens),
            position,
            tokens,
            group: heads,
            scale: spec.score_scale,
            sinks: None,
            query: |token, head, moved| {
                let turned = if moved { query_moved } else { query };
                let turned = &turned[((first + token) * heads + head) * query_dim + nope..][..rope];
                [&latent_query[(head * all + first + token) * rank..][..rank], turned]
            },
        };
        attend.run(staged, |token, head, result| {
            results[(head * all + first + token) * rank..][..rank].copy_from_slice(result);
        });
        first += tokens;
    }

    per_head(batch, tensors.value_up, heads, scratch, &mut shared.work);
    let attended = common.attended.rows(all, heads * value);
    let outputs = scratch.head_outputs[..heads * all * value].chunks_exact(value);
    for (index, values) in outputs.enumerate() {
        let (head, token) = (index / all, index % all);
        attended[(token * heads + head) * value..][..value].copy_from_slice(values);
    }
    let Shared { work, block, .. } = shared;
    project(&cpu, tensors.output, &mut common.attended, all, &mut work.staging, None, block);
}

/// The query, in one projection or in two with a normalization between.
fn project_query(
    batch: &Batch<'_>,
    tensors: &LatentTensors,
    shared: &mut Shared,
    common: &mut attention::Scratch,
    scratch: &mut Scratch,
) {
    let (cpu, tokens, epsilon) = (batch.cpu, batch.tokens, batch.network.spec.norm_epsilon);
    let Shared { normed, work, .. } = shared;
    let (query, staging) = (&mut common.query, &mut work.staging);
    let Some((down, gain)) = tensors.query_down else {
        return project(&cpu, tensors.query, normed, tokens, staging, None, query);
    };
    let (low, query_low) = (down.rows as usize, &mut scratch.query_low);
    let rows = query_low.rows(tokens, low);
    project(&cpu, down, normed, tokens, staging, None, rows);
    rows.chunks_exact_mut(low).for_each(|row| normalize_in_place(epsilon, cpu.vector(&gain), row));
    project(&cpu, tensors.query, query_low, tokens, staging, None, query);
}

/// RoPE of a part of each query; the other part becomes the inputs of the key up-projection.
fn turn_queries(
    batch: &Batch<'_>,
    spec: &AttentionSpec,
    nope: usize,
    shared: &Shared,
    common: &mut attention::Scratch,
    scratch: &mut Scratch,
) {
    let (heads, tokens) = (spec.heads as usize, batch.tokens);
    let width = nope + spec.rope_dim as usize;
    let inputs = scratch.head_inputs.rows(heads * tokens, nope);
    let queries = common.query[..tokens * heads * width].chunks_exact_mut(width);
    for (index, query) in queries.enumerate() {
        let (token, head) = (index / heads, index % heads);
        let (plain, turned) = query.split_at_mut(nope);
        rotate(turned, shared.turns.of(batch, token), spec.rope_scale);
        inputs[(head * tokens + token) * nope..][..nope].copy_from_slice(plain);
    }
}

/// Latents and rotated keys of the batch's tokens, `[tokens, rank + rope_dim]`, as its keys.
fn make_latents(
    batch: &Batch<'_>,
    spec: &AttentionSpec,
    tensors: &LatentTensors,
    rank: usize,
    shared: &mut Shared,
    common: &mut attention::Scratch,
) {
    let (cpu, tokens, epsilon) = (batch.cpu, batch.tokens, batch.network.spec.norm_epsilon);
    let Shared { normed, work, turns, .. } = shared;
    let keys = &mut common.keys;
    project(&cpu, tensors.key_value_down, normed, tokens, &mut work.staging, None, keys);
    let width = rank + spec.rope_dim as usize;
    for (token, row) in keys[..tokens * width].chunks_exact_mut(width).enumerate() {
        let (latent, key) = row.split_at_mut(rank);
        normalize_in_place(epsilon, cpu.vector(&tensors.key_value_norm), latent);
        rotate(key, turns.of(batch, token), spec.rope_scale);
    }
}

/// A matrix for each head times that head's rows: `[heads, tokens, columns]` to `[heads, tokens,
/// rows]`.
fn per_head(
    batch: &Batch<'_>,
    tensor: TensorRef,
    heads: usize,
    scratch: &mut Scratch,
    work: &mut Workspace,
) {
    let (cpu, tokens) = (batch.cpu, batch.tokens);
    let (Scratch { head_inputs, head_outputs, .. }, Workspace { list, staging }) = (scratch, work);
    list.clear();
    list.extend((0..heads as u32).map(|head| Product {
        tensor,
        stack: head,
        first_token: head * tokens as u32,
        tokens: tokens as u32,
    }));
    head_inputs.prepare(&cpu, heads * tokens, list);
    let results = cpu.multiply(list, &head_inputs.activations(), staging);
    let rows = tensor.rows as usize * tokens;
    let outputs = head_outputs.chunks_exact_mut(rows);
    let each = results.len() / heads;
    for ((product, own), out) in list.iter().zip(results.chunks_exact(each)).zip(outputs) {
        cpu.collect(product, own, None, out);
    }
}
