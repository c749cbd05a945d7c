//! The KV policy of a model: what bits of cached chunks cost, which chunks cost more than others, and the prices at which a
//! ring of few bytes or of many chooses (MoQAE, arXiv 2506.07533).

mod costs;
mod rounding;
mod router;

use hardtack_format::KvPolicy;
use hardtack_format::kv_policy::{BITS, Costs, KvRouter, LayerPolicy, PARTS, Price, router_inputs};
use hardtack_format::spec::{AttentionKind, AttentionSpec, ModelSpec};
use hardtack_kernels::kv_router::{choose, tell};

use self::costs::ROWS;
pub use self::costs::{CHUNK, Chunk, chunks};
pub use self::rounding::{Scaled, rounded};

/// Bits of a code on average that prices are looked for.
const AVERAGES: [f32; 6] = [6.0, 5.0, 4.0, 3.5, 3.0, 2.5];
/// A router must choose this much better than a constant on chunks that it has not seen, or the constant stays.
const GAIN_MIN: f64 = 0.01;

/// What came of a layer's router.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// What its choices cost on chunks held out, bytes included, as a share of what constant choices cost.
    pub share: f64,
    /// Whether it stays.
    pub kept: bool,
}

/// Makes a model's policy from chunks to fit on and chunks held out, `[layer][chunk]` each; and tells what came of each
/// layer's router. Nothing where the windows were too short to have chunks.
pub fn policy(spec: &ModelSpec, fit: &[Vec<Chunk>], held_out: &[Vec<Chunk>]) -> Option<(KvPolicy, Vec<Learned>)> {
    if fit.iter().chain(held_out).any(Vec::is_empty) {
        return None;
    }
    let elements: Vec<_> = spec.layers.iter().map(|layer| elements(&layer.attention)).collect();
    let constant = |chunks: &Vec<Chunk>| LayerPolicy { costs: mean(chunks), router: None };
    let mut layers: Vec<LayerPolicy> = fit.iter().map(constant).collect();
    let prices = prices(&layers, fit, &elements);
    let mut learned = Vec::new();
    for (index, layer) in layers.iter_mut().enumerate() {
        let cost = |policy: &LayerPolicy, chunks: &[Chunk]| paid(policy, chunks, &prices, elements[index]);
        let with = |router: &KvRouter| LayerPolicy { router: Some(router.clone()), ..layer.clone() };
        let judge = |router: &KvRouter, chunks: &[Chunk]| cost(&with(router), chunks);
        let with = with(&router::train(&fit[index], &layer.costs, &prices, elements[index], judge));
        let share = cost(&with, &held_out[index]) / cost(layer, &held_out[index]);
        let kept = share < 1.0 - GAIN_MIN;
        learned.push(Learned { share, kept });
        if kept {
            *layer = with;
        }
    }
    let prices = self::prices(&layers, fit, &elements);
    debug_assert!(
        spec.layers
            .iter()
            .zip(fit)
            .all(|(layer, chunks)| { chunks[0].inputs.len() == ROWS * router_inputs(&layer.attention) as usize })
    );
    Some((KvPolicy { prices, layers }, learned))
}

/// Most bytes that a policy of these layers takes.
pub fn bytes_max(spec: &ModelSpec) -> u64 {
    let layer = |attention| {
        let weights = (2 * u64::from(router_inputs(attention)) + (PARTS * BITS.len()) as u64) * router::WIDTH as u64;
        4 * (weights + 1 + (PARTS * BITS.len()) as u64)
    };
    8 + 8 * AVERAGES.len() as u64 + spec.layers.iter().map(|own| layer(&own.attention)).sum::<u64>()
}

/// A token's numbers in each part.
fn elements(attention: &AttentionSpec) -> [usize; PARTS] {
    let (first, second) = attention.cached();
    match attention.kind {
        AttentionKind::Grouped { .. } => [first as usize, second as usize],
        AttentionKind::Latent { .. } => [(first + second) as usize, 0],
    }
}

/// Logarithms of the mean costs.
fn mean(chunks: &[Chunk]) -> Costs {
    std::array::from_fn(|part| {
        std::array::from_fn(|bits| {
            let sum: f64 = chunks.iter().map(|chunk| chunk.costs[part][bits]).sum();
            (sum / chunks.len() as f64).max(f64::from(f32::MIN_POSITIVE)).ln() as f32
        })
    })
}

/// What a policy tells of a chunk.
fn told(policy: &LayerPolicy, chunk: &Chunk) -> Costs {
    tell(policy, chunk.inputs.chunks_exact(chunk.inputs.len() / ROWS).map(|row| row.iter().copied()))
}

/// What a policy's choices cost at all prices, each as a share of the best choices.
fn paid(policy: &LayerPolicy, chunks: &[Chunk], prices: &[Price], elements: [usize; PARTS]) -> f64 {
    let mut sum = 0.0;
    for &price in prices {
        let worth = |chunk: &Chunk, chosen: [u32; PARTS]| -> f64 {
            let part = |part: usize| {
                let index = BITS.iter().position(|&bits| bits == chosen[part]).expect("one of them");
                let bytes = (elements[part] * chosen[part] as usize) as f64 / 8.0;
                chunk.costs[part][index] + f64::from(price.byte) * bytes
            };
            (0..PARTS).filter(|&own| elements[own] > 0).map(part).sum()
        };
        let best =
            |chunk: &Chunk| choose(&chunk.costs.map(|costs| costs.map(|cost| cost.ln() as f32)), price, elements);
        let own: f64 = chunks.iter().map(|chunk| worth(chunk, choose(&told(policy, chunk), price, elements))).sum();
        sum += own / chunks.iter().map(|chunk| worth(chunk, best(chunk))).sum::<f64>();
    }
    sum
}

/// The prices at which choices have at most so many bits on average, over all layers and chunks.
fn prices(layers: &[LayerPolicy], fit: &[Vec<Chunk>], elements: &[[usize; PARTS]]) -> Vec<Price> {
    let told: Vec<Vec<Costs>> = layers
        .iter()
        .zip(fit)
        .map(|(layer, chunks)| chunks.iter().map(|chunk| self::told(layer, chunk)).collect())
        .collect();
    let average = |byte: f32| {
        let (mut bits, mut codes) = (0.0, 0.0);
        for (told, &elements) in told.iter().zip(elements) {
            for costs in told {
                let chosen = choose(costs, Price { bits: 0.0, byte }, elements);
                for (chosen, elements) in chosen.into_iter().zip(elements) {
                    bits += f64::from(chosen) * elements as f64;
                    codes += elements as f64;
                }
            }
        }
        (bits / codes) as f32
    };
    let mut prices: Vec<Price> = Vec::new();
    for wanted in AVERAGES {
        // Between them, on a scale of factors.
        let (mut low, mut high) = (-80.0f32, 60.0f32);
        while high - low > 1e-3 {
            let middle = (low + high) / 2.0;
            if average(middle.exp()) > wanted { low = middle } else { high = middle }
        }
        let price = Price { bits: average(high.exp()), byte: high.exp() };
        if prices.last().is_none_or(|last| price.bits < last.bits && price.byte > last.byte) {
            prices.push(price);
        }
    }
    prices
}
