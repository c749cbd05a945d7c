//! Costs of cached chunks against attention run whole with one chunk changed, for every family.

mod calibrate_support;

use calibrate_support::{FAMILIES, Numbers, fixture};
use candle_core::{DType, Device, Tensor};
use hardtack_converter::calibrate::Model;
use hardtack_converter::calibrate::graph::{self, AttentionWeights, Latents, Pass, Softmax};
use hardtack_converter::calibrate::kv::{CHUNK, Scaled, chunks, rounded};
use hardtack_format::spec::AttentionSpec;

const TOKENS: usize = 4 * CHUNK;
/// The first chunk is never sealed; the last has nothing behind it.
const SEALED: [usize; 2] = [1, 2];
/// Places of 2 and of 4 bits.
const BITS: [usize; 2] = [0, 2];

/// Attention's result `[heads, tokens, value_dim]`.
fn attend(spec: &AttentionSpec, query: &Tensor, key: &Tensor, value: &Tensor, sinks: Option<&Tensor>) -> Tensor {
    let Softmax { shares, sum, .. } = graph::softmax(spec, query, key, sinks).unwrap();
    let group = query.dim(0).unwrap() / value.dim(0).unwrap();
    let each: Vec<Tensor> = (0..query.dim(0).unwrap())
        .map(|head| shares.get(head).unwrap().matmul(&value.get(head / group).unwrap()).unwrap())
        .collect();
    Tensor::stack(&each, 0).unwrap().broadcast_div(&sum).unwrap()
}

/// The same with a chunk of dimension `dim` exchanged.
fn exchange(whole: &Tensor, dim: usize, chunk: usize, other: &Tensor) -> Tensor {
    let before = whole.narrow(dim, 0, chunk * CHUNK).unwrap();
    let after = (chunk + 1) * CHUNK;
    let after = whole.narrow(dim, after, TOKENS - after).unwrap();
    Tensor::cat(&[&before, other, &after], dim).unwrap()
}

fn part(whole: &Tensor, dim: usize, chunk: usize) -> Tensor {
    whole.narrow(dim, chunk * CHUNK, CHUNK).unwrap().contiguous().unwrap()
}

/// What every fourth token behind a chunk loses on average.
fn loss(exact: &Tensor, changed: &Tensor, gradient: &Tensor, chunk: usize) -> f64 {
    let change = ((exact - changed).unwrap() * gradient).unwrap().sqr().unwrap();
    let tokens: Vec<f32> = change.sum((0, 2)).unwrap().to_vec1().unwrap();
    let behind: Vec<f32> = tokens[(chunk + 1) * CHUNK..].iter().copied().skip(3).step_by(4).collect();
    behind.iter().map(|&value| f64::from(value)).sum::<f64>() / behind.len() as f64
}

fn check_family(family: &str) {
    let Some(folder) = fixture(family) else { return };
    let model = Model::open(&folder).unwrap();
    let spec = model.spec();
    let pass = Pass::new(spec, &model.frequencies().unwrap(), TOKENS, DType::F32).unwrap();
    let mut numbers = Numbers(7);
    let mut random = || {
        let values: Vec<f32> = (0..TOKENS * spec.hidden as usize).map(|_| numbers.next() as f32).collect();
        Tensor::from_vec(values, (TOKENS, spec.hidden as usize), &Device::Cpu).unwrap()
    };
    let (x, upstream) = (random(), random());
    for (index, layer) in spec.layers.iter().enumerate() {
        let weights = model.layer(index, DType::F32).unwrap().attention;
        let attention = &layer.attention;
        let ours = chunks(attention, &weights, &x, &upstream, &pass).unwrap();
        assert_eq!(ours.len(), SEALED.len());
        for (chunk, ours) in SEALED.into_iter().zip(&ours) {
            for bits in BITS {
                let expected = changed_alone(attention, &weights, &x, &upstream, &pass, (chunk, bits));
                for (part, expected) in expected.into_iter().enumerate() {
                    let found = ours.costs[part][bits];
                    let off = (found - expected).abs();
                    assert!(
                        off <= 1e-3 * expected && (expected > 0.0) == (found > 0.0),
                        "{family}, layer {index}, chunk {chunk}, part {part}: {found}, not {expected}"
                    );
                }
            }
        }
    }
}

/// The loss of changing one chunk's keys, and its values; or its latents, and nothing.
fn changed_alone(
    spec: &AttentionSpec,
    weights: &AttentionWeights,
    x: &Tensor,
    upstream: &Tensor,
    pass: &Pass,
    (chunk, bits): (usize, usize),
) -> [f64; 2] {
    let gradient = |output: &Tensor, heads: usize| {
        let flat = upstream.matmul(output).unwrap();
        let width = flat.dim(1).unwrap() / heads;
        flat.reshape((TOKENS, heads, width)).unwrap().transpose(0, 1).unwrap().contiguous().unwrap()
    };
    let heads = spec.heads as usize;
    match weights {
        AttentionWeights::Grouped(weights) => {
            let [query, key, value] = graph::heads(spec, weights, x, pass).unwrap();
            let gradient = gradient(&weights.output, heads);
            let run = |key: &Tensor, value: &Tensor| attend(spec, &query, key, value, weights.sinks.as_ref());
            let exact = run(&key, &value);
            let other = |whole: &Tensor, scaled| {
                exchange(whole, 1, chunk, &rounded(&part(whole, 1, chunk), scaled).unwrap()[bits])
            };
            let keys = run(&other(&key, Scaled::Channel), &value);
            let values = run(&key, &other(&value, Scaled::Token));
            [keys, values].map(|changed| loss(&exact, &changed, &gradient, chunk))
        }
        AttentionWeights::Latent(weights) => {
            let Latents { query, latent, shared_key } = graph::latents(spec, weights, x, pass).unwrap();
            let gradient = gradient(&weights.output, heads);
            let run = |latent: &Tensor, shared_key: &Tensor| {
                let [key, value] = graph::expand(spec, weights, latent, shared_key).unwrap();
                attend(spec, &query, &key, &value, None)
            };
            let other = |whole: &Tensor| {
                let own = part(whole, 0, chunk).unsqueeze(0).unwrap();
                let own = rounded(&own, Scaled::Channel).unwrap()[bits].squeeze(0).unwrap();
                exchange(whole, 0, chunk, &own)
            };
            let exact = run(&latent, &shared_key);
            [loss(&exact, &run(&other(&latent), &other(&shared_key)), &gradient, chunk), 0.0]
        }
    }
}

#[test]
fn a_chunks_cost_is_what_attention_loses_when_it_alone_is_rounded() {
    FAMILIES.iter().for_each(|family| check_family(family));
}
