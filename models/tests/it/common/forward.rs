//! The network of a recipe run in the plainest way, to hold recipes to transformers' logits. Not
//! fast, not short of memory.

use std::collections::BTreeMap;

use hardtack_format::Role;
use hardtack_format::spec::*;
use hardtack_models::{Recipe, TensorSource};

use super::Memory;

type Section = BTreeMap<Role, Vec<f32>>;

/// Logits of every position `[tokens][vocabulary]`.
pub fn logits(recipe: &Recipe, memory: &Memory, tokens: &[usize]) -> Vec<Vec<f32>> {
    let spec = &recipe.spec;
    let globals = load(&recipe.globals, memory);
    let hidden = spec.hidden as usize;
    let embedding = &globals[&Role::Embedding];
    let frequencies = globals.get(&Role::RopeFrequencies).cloned().unwrap_or_default();
    let mut stream: Vec<Vec<f32>> = tokens
        .iter()
        .map(|token| {
            embedding[token * hidden..][..hidden].iter().map(|x| x * spec.embedding_scale).collect()
        })
        .collect();
    for (layer, own) in spec.layers.iter().zip(&recipe.layers) {
        let weights = load(&own.tensors, memory);
        let normed: Vec<_> = stream
            .iter()
            .map(|x| norm(x, &weights[&Role::AttentionNorm], spec.norm_epsilon))
            .collect();
        let added = attention(&layer.attention, &weights, &normed, &frequencies, spec.norm_epsilon);
        add(&mut stream, &added, spec.residual_scale);
        let experts: Vec<Section> = own.experts.iter().map(|expert| load(expert, memory)).collect();
        let added: Vec<_> = stream
            .iter()
            .map(|x| norm(x, &weights[&Role::FeedForwardNorm], spec.norm_epsilon))
            .map(|x| feed_forward(&layer.feed_forward, &weights, &experts, &x))
            .collect();
        add(&mut stream, &added, spec.residual_scale);
    }
    let head = globals.get(&Role::Head).unwrap_or(embedding);
    stream
        .iter()
        .map(|x| norm(x, &globals[&Role::FinalNorm], spec.norm_epsilon))
        .map(|x| {
            multiply(head, &x, None).into_iter().map(|logit| logit * spec.logit_scale).collect()
        })
        .collect()
}

fn load(tensors: &[TensorSource], memory: &Memory) -> Section {
    tensors.iter().map(|tensor| (tensor.role, tensor.load(memory).expect("loads"))).collect()
}

fn add(stream: &mut [Vec<f32>], added: &[Vec<f32>], scale: f32) {
    for (x, added) in stream.iter_mut().zip(added) {
        x.iter_mut().zip(added).for_each(|(x, added)| *x += added * scale);
    }
}

fn norm(x: &[f32], gain: &[f32], epsilon: f32) -> Vec<f32> {
    let mean = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
    let scale = 1.0 / (mean + epsilon).sqrt();
    x.iter().zip(gain).map(|(x, gain)| x * scale * gain).collect()
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// `[rows, x.len()] * x + bias`
fn multiply(matrix: &[f32], x: &[f32], bias: Option<&Vec<f32>>) -> Vec<f32> {
    let mut y: Vec<f32> = matrix.chunks(x.len()).map(|row| dot(row, x)).collect();
    if let Some(bias) = bias {
        y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
    }
    y
}

/// Turns pairs `(i, i + dim / 2)`.
fn turn(x: &mut [f32], position: usize, frequencies: &[f32], scale: f32) {
    let half = x.len() / 2;
    for (pair, frequency) in frequencies.iter().enumerate().take(half) {
        let (sine, cosine) = (position as f32 * frequency).sin_cos();
        let (a, b) = (x[pair], x[pair + half]);
        x[pair] = (a * cosine - b * sine) * scale;
        x[pair + half] = (b * cosine + a * sine) * scale;
    }
}

fn attention(
    spec: &AttentionSpec,
    weights: &Section,
    inputs: &[Vec<f32>],
    frequencies: &[f32],
    epsilon: f32,
) -> Vec<Vec<f32>> {
    let heads = spec.heads as usize;
    // For every token and head: query, key, value.
    let parts: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(position, x)| match spec.kind {
            AttentionKind::Grouped { .. } => {
                grouped(spec, weights, x, position, frequencies, epsilon)
            }
            AttentionKind::Latent { .. } => {
                latent(spec, weights, x, position, frequencies, epsilon)
            }
        })
        .collect();
    let window = if spec.window == 0 { usize::MAX } else { spec.window as usize };
    (0..inputs.len())
        .map(|position| {
            let mut joined = Vec::new();
            for head in 0..heads {
                let first = (position + 1).saturating_sub(window);
                let query = &parts[position][head].0;
                let scores: Vec<f32> = (first..=position)
                    .map(|at| dot(query, &parts[at][head].1) * spec.score_scale)
                    .collect();
                let sink = weights.get(&Role::Sinks).map_or(f32::NEG_INFINITY, |sinks| sinks[head]);
                let top = scores.iter().copied().fold(sink, f32::max);
                let sum = scores.iter().map(|score| (score - top).exp()).sum::<f32>()
                    + (sink - top).exp();
                let mut value = vec![0.0; parts[position][head].2.len()];
                for (at, score) in (first..=position).zip(&scores) {
                    let share = (score - top).exp() / sum;
                    value
                        .iter_mut()
                        .zip(&parts[at][head].2)
                        .for_each(|(sum, value)| *sum += share * value);
                }
                joined.extend(value);
            }
            multiply(&weights[&Role::Output], &joined, weights.get(&Role::OutputBias))
        })
        .collect()
}

type Part = (Vec<f32>, Vec<f32>, Vec<f32>);

fn grouped(
    spec: &AttentionSpec,
    weights: &Section,
    x: &[f32],
    position: usize,
    frequencies: &[f32],
    epsilon: f32,
) -> Vec<Part> {
    let AttentionKind::Grouped { kv_heads, head_dim, norm: kind } = spec.kind else {
        unreachable!()
    };
    let (kv_heads, head_dim) = (kv_heads as usize, head_dim as usize);
    let project = |role, bias, gain| {
        let mut y = multiply(&weights[&role], x, weights.get(&bias));
        match kind {
            HeadNorm::Whole if gain != Role::ValueBias => y = norm(&y, &weights[&gain], epsilon),
            HeadNorm::PerHead if gain != Role::ValueBias => {
                y = y
                    .chunks(head_dim)
                    .flat_map(|head| norm(head, &weights[&gain], epsilon))
                    .collect();
            }
            _ => {}
        }
        y
    };
    let mut query = project(Role::Query, Role::QueryBias, Role::QueryNorm);
    let mut key = project(Role::Key, Role::KeyBias, Role::KeyNorm);
    let value = project(Role::Value, Role::ValueBias, Role::ValueBias);
    for head in query.chunks_mut(head_dim).chain(key.chunks_mut(head_dim)) {
        turn(&mut head[..spec.rope_dim as usize], position, frequencies, spec.rope_scale);
    }
    let group = spec.heads as usize / kv_heads;
    (0..spec.heads as usize)
        .map(|head| {
            let shared = head / group * head_dim..(head / group + 1) * head_dim;
            (
                query[head * head_dim..][..head_dim].to_vec(),
                key[shared.clone()].to_vec(),
                value[shared].to_vec(),
            )
        })
        .collect()
}

/// Keys and values are made whole from the latent here: `key[n] = sum over r of key_up[r][n] *
/// latent[r]`.
fn latent(
    spec: &AttentionSpec,
    weights: &Section,
    x: &[f32],
    position: usize,
    frequencies: &[f32],
    epsilon: f32,
) -> Vec<Part> {
    let AttentionKind::Latent { query_rank, kv_rank, nope_dim, value_dim } = spec.kind else {
        unreachable!()
    };
    let [kv_rank, nope, value_dim] = [kv_rank, nope_dim, value_dim].map(|width| width as usize);
    let query = if query_rank == 0 {
        multiply(&weights[&Role::Query], x, None)
    } else {
        let down = norm(
            &multiply(&weights[&Role::QueryDown], x, None),
            &weights[&Role::QueryDownNorm],
            epsilon,
        );
        multiply(&weights[&Role::Query], &down, None)
    };
    let mut down = multiply(&weights[&Role::KeyValueDown], x, None);
    turn(&mut down[kv_rank..], position, frequencies, spec.rope_scale);
    let latent = norm(&down[..kv_rank], &weights[&Role::KeyValueNorm], epsilon);
    query
        .chunks(nope + spec.rope_dim as usize)
        .enumerate()
        .map(|(head, query)| {
            let mut query = query.to_vec();
            turn(&mut query[nope..], position, frequencies, spec.rope_scale);
            let key_up = &weights[&Role::KeyUp][head * kv_rank * nope..][..kv_rank * nope];
            let mut key = vec![0.0; nope];
            for (row, latent) in key_up.chunks(nope).zip(&latent) {
                key.iter_mut().zip(row).for_each(|(key, weight)| *key += weight * latent);
            }
            key.extend(&down[kv_rank..]);
            let value_up =
                &weights[&Role::ValueUp][head * value_dim * kv_rank..][..value_dim * kv_rank];
            (query, key, multiply(value_up, &latent, None))
        })
        .collect()
}

fn feed_forward(
    spec: &FeedForwardSpec,
    weights: &Section,
    experts: &[Section],
    x: &[f32],
) -> Vec<f32> {
    let FeedForwardKind::Experts(mixture) = spec.kind else {
        return block(spec.activation, weights, x);
    };
    let logits = multiply(&weights[&Role::Router], x, weights.get(&Role::RouterBias));
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    let chosen = &order[..mixture.chosen as usize];
    let top = logits[order[0]];
    let among: &[usize] = if mixture.router == RouterKind::SoftmaxAll { &order } else { chosen };
    let sum: f32 = among.iter().map(|expert| (logits[*expert] - top).exp()).sum();
    let mut y = vec![0.0; x.len()];
    for &expert in chosen {
        let share = (logits[expert] - top).exp() / sum * mixture.routed_scale;
        let own = block(spec.activation, &experts[expert], x);
        y.iter_mut().zip(own).for_each(|(y, own)| *y += share * own);
    }
    if mixture.shared_inner > 0 {
        let share =
            weights.get(&Role::SharedGate).map_or(1.0, |gate| 1.0 / (1.0 + (-dot(gate, x)).exp()));
        y.iter_mut().zip(block(spec.activation, weights, x)).for_each(|(y, own)| *y += share * own);
    }
    y
}

fn block(activation: Activation, weights: &Section, x: &[f32]) -> Vec<f32> {
    let gated = multiply(&weights[&Role::Gated], x, weights.get(&Role::GatedBias));
    let up = multiply(&weights[&Role::Up], x, weights.get(&Role::UpBias));
    let inner: Vec<f32> = gated
        .into_iter()
        .zip(up)
        .map(|(g, u)| match activation {
            Activation::Silu => g / (1.0 + (-g).exp()) * u,
            Activation::ClampedSwiglu { alpha, limit } => {
                let (g, u) = (g.min(limit), u.clamp(-limit, limit));
                g / (1.0 + (-alpha * g).exp()) * (u + 1.0)
            }
        })
        .collect();
    multiply(&weights[&Role::Down], &inner, weights.get(&Role::DownBias))
}
