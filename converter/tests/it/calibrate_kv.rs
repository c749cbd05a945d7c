//! Costs of cached chunks against attention run whole with one chunk changed, for every family.

use candle_core::{DType, Device, Tensor};
use hardtack_converter::calibrate::Model;
use hardtack_converter::calibrate::graph::{self, AttentionWeights, Latents, Pass, Softmax};
use hardtack_converter::calibrate::kv::{
    CHUNK, Chunk, ROWS, Scaled, chunks, policy, rounded, shared,
};
use hardtack_format::kv_policy::{BITS as CODE_BITS, PARTS, router_inputs};
use hardtack_format::spec::AttentionSpec;
use hardtack_testing::{FAMILIES, Numbers, fixture};

const TOKENS: usize = 4 * CHUNK;
/// The first chunk is never sealed; no token comes after the last.
const SEALED: [usize; 2] = [1, 2];
/// Places of 2 and of 4 bits.
const BITS: [usize; 2] = [0, 2];

/// Attention's result `[heads, tokens, value_dim]`.
fn attend(
    spec: &AttentionSpec,
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    sinks: Option<&Tensor>,
) -> Tensor {
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

/// What every fourth token after a chunk loses on average.
fn loss(exact: &Tensor, changed: &Tensor, gradient: &Tensor, chunk: usize) -> f64 {
    let change = ((exact - changed).unwrap() * gradient).unwrap().sqr().unwrap();
    let tokens: Vec<f32> = change.sum((0, 2)).unwrap().to_vec1().unwrap();
    let behind: Vec<f32> =
        tokens[(chunk + 1) * CHUNK..].iter().copied().skip(3).step_by(4).collect();
    behind.iter().map(|&value| f64::from(value)).sum::<f64>() / behind.len() as f64
}

fn check_family(family: &str) {
    let Some(folder) = fixture(family) else { return };
    let model = Model::open(&folder).unwrap();
    let spec = model.spec();
    let pass = Pass::new(spec, &model.frequencies().unwrap(), TOKENS, DType::F32).unwrap();
    let mut numbers = Numbers(7);
    let mut random = || {
        let values: Vec<f32> =
            (0..TOKENS * spec.hidden as usize).map(|_| numbers.signed() as f32).collect();
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
                let expected =
                    changed_alone(attention, &weights, &x, &upstream, &pass, (chunk, bits));
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
            let run = |key: &Tensor, value: &Tensor| {
                attend(spec, &query, key, value, weights.sinks.as_ref())
            };
            let exact = run(&key, &value);
            let other = |whole: &Tensor, scaled| {
                exchange(whole, 1, chunk, &rounded(&part(whole, 1, chunk), scaled).unwrap()[bits])
            };
            let keys = run(&other(&key, Scaled::Channel), &value);
            let values = run(&key, &other(&value, Scaled::Token));
            [keys, values].map(|changed| loss(&exact, &changed, &gradient, chunk))
        }
        AttentionWeights::Latent(weights) => {
            let Latents { query, latent, shared_key } =
                graph::latents(spec, weights, x, pass).unwrap();
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

/// Chunks whose costs follow one of their inputs, on which nothing but noise is written beside it;
/// `scale` is the layer's own.
fn synthetic(numbers: &mut Numbers, inputs: usize, count: usize, scale: f32) -> Vec<Chunk> {
    let chunk = |_| {
        let mut row: Vec<f32> = (0..inputs).map(|_| 1.0 + 0.5 * numbers.signed() as f32).collect();
        let dear = numbers.signed() > 0.3;
        row[0] = if dear { 3.0 } else { 1.0 };
        row.iter_mut().for_each(|input| *input *= scale);
        let cost = |bits: u32| {
            f64::from(scale) * 4f64.powi(-(bits as i32)) * if dear { 40.0 } else { 1.0 }
        };
        let inputs = row.iter().copied().cycle().take(ROWS * inputs).collect();
        Chunk { costs: [CODE_BITS.map(cost); PARTS], inputs }
    };
    (0..count).map(chunk).collect()
}

#[test]
fn a_layer_that_saw_few_chunks_learns_from_those_beside_it() {
    let Some(path) = fixture("qwen3_moe") else { return };
    let model = Model::open(&path).unwrap();
    let spec = model.spec();
    let inputs = |layer: usize| router_inputs(&spec.layers[layer].attention) as usize;
    let mut numbers = Numbers(7);
    let mut layers = |counts: [usize; 2]| -> Vec<Vec<Chunk>> {
        let layer = |layer: usize| {
            synthetic(&mut numbers, inputs(layer), counts[layer.min(1)], 1.0 + layer as f32)
        };
        (0..spec.layers.len()).map(layer).collect()
    };
    let (fit, held_out) = (layers([8, 120]), layers([60, 60]));
    let [alone, together] =
        [1, spec.layers.len()].map(|group| shared(spec, &fit, &held_out, group).unwrap());
    assert_eq!((alone[0].layers, together[0].layers), (1, spec.layers.len()));
    for own in alone.iter().chain(&together) {
        assert!(own.best < 0.95 && own.share > own.best - 1e-6, "{own:?}");
    }
    assert!(
        together[0].share < alone[0].share - 0.02 && together[0].kept(),
        "{:?}, alone {:?}",
        together[0],
        alone[0]
    );
    assert_eq!(shared(spec, &fit, &vec![Vec::new(); spec.layers.len()], 1), None);

    // A policy takes what did best on chunks that were not learned from.
    let (policy, learned) = policy(spec, &fit, &held_out).unwrap();
    assert!(learned[0].layers > 1 && policy.layers[0].router.is_some(), "{learned:?}");
}
