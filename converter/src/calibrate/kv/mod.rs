//! The KV policy of a model: what bits of cached chunks cost, which chunks cost more than others,
//! and the prices at which a ring of few bytes or of many chooses (MoQAE, arXiv 2506.07533).

mod costs;
mod rounding;
mod router;

use hardtack_format::KvPolicy;
use hardtack_format::kv_policy::{BITS, Costs, LayerPolicy, PARTS, Price, router_inputs};
use hardtack_format::spec::{AttentionKind, AttentionSpec, ModelSpec};
use hardtack_kernels::kv_router::{choose, tell};

pub use self::costs::{CHUNK, Chunk, ROWS, chunks};
pub use self::rounding::{Scaled, rounded};
use self::router::{Example, Trained, train};

/// Bits of a code on average that prices are looked for.
const AVERAGES: [f32; 6] = [6.0, 5.0, 4.0, 3.5, 3.0, 2.5];
/// A router must choose this much better than a constant on chunks that it has not seen, or the
/// constant stays.
const GAIN_MIN: f64 = 0.01;
/// Consecutive layers that learn a router together (routing sharing): each alone, as many as in the
/// paper, and more, which takes more memory.
const GROUPS: [usize; 3] = [1, 3, 12];

/// The result of a layer's router.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// What its choices cost on chunks held out, bytes included, as a share of what constant
    /// choices cost.
    pub share: f64,
    /// What the cheapest choices of all would cost, as such a share.
    pub best: f64,
    /// Layers that learned it together.
    pub layers: usize,
}

impl Learned {
    /// Whether it stays.
    pub fn kept(&self) -> bool {
        self.share < 1.0 - GAIN_MIN
    }
}

/// Makes a model's policy from chunks to fit on and chunks held out, `[layer][chunk]` each; and the
/// result of each layer's router. None where the windows were too short to have chunks.
pub fn policy(
    spec: &ModelSpec,
    fit: &[Vec<Chunk>],
    held_out: &[Vec<Chunk>],
) -> Option<(KvPolicy, Vec<Learned>)> {
    let mut training = RouterTraining::new(spec, fit, held_out)?;
    let mut routers = training.routers(GROUPS[0]);
    for group in &GROUPS[1..] {
        for (best, other) in routers.iter_mut().zip(training.routers(*group)) {
            // Chunks held out say whether a router stays, so they do not say which.
            if other.cost < best.cost {
                *best = other;
            }
        }
    }
    let mut learned = Vec::new();
    for (index, trained) in routers.into_iter().enumerate() {
        let own = training.learned(index, &trained);
        learned.push(own);
        if own.kept() {
            training.layers[index] = trained.policy;
        }
    }
    let prices = prices(&training.layers, fit, &training.elements);
    Some((KvPolicy { prices, layers: training.layers }, learned))
}

/// The results of routers that `group` consecutive layers learn together, for every layer; none
/// where the windows were too short to have chunks.
pub fn shared(
    spec: &ModelSpec,
    fit: &[Vec<Chunk>],
    held_out: &[Vec<Chunk>],
    group: usize,
) -> Option<Vec<Learned>> {
    let training = RouterTraining::new(spec, fit, held_out)?;
    let routers = training.routers(group);
    Some(routers.iter().enumerate().map(|(index, own)| training.learned(index, own)).collect())
}

/// Layers with what they are to learn from.
struct RouterTraining<'a> {
    fit: &'a [Vec<Chunk>],
    held_out: &'a [Vec<Chunk>],
    /// A token's numbers in each part, of each layer.
    elements: Vec<[usize; PARTS]>,
    /// What each layer pays without a router.
    layers: Vec<LayerPolicy>,
    prices: Vec<Price>,
}

impl<'a> RouterTraining<'a> {
    fn new(spec: &ModelSpec, fit: &'a [Vec<Chunk>], held_out: &'a [Vec<Chunk>]) -> Option<Self> {
        if fit.iter().chain(held_out).any(Vec::is_empty) {
            return None;
        }
        let inputs = |layer: usize| ROWS * router_inputs(&spec.layers[layer].attention) as usize;
        debug_assert!(
            fit.iter().enumerate().all(|(layer, chunks)| chunks[0].inputs.len() == inputs(layer))
        );
        let elements: Vec<_> = spec.layers.iter().map(|layer| elements(&layer.attention)).collect();
        let constant = |chunks: &Vec<Chunk>| LayerPolicy { costs: mean(chunks), router: None };
        let layers: Vec<LayerPolicy> = fit.iter().map(constant).collect();
        let prices = prices(&layers, fit, &elements);
        Some(Self { fit, held_out, elements, layers, prices })
    }

    /// A router of each layer, learned together with up to `group - 1` others beside it whose
    /// caches are alike.
    fn routers(&self, group: usize) -> Vec<Trained> {
        let alike = |index: usize| (self.elements[index], self.fit[index][0].inputs.len());
        let mut all = Vec::new();
        while all.len() < self.layers.len() {
            let first = all.len();
            let beside = (first..self.layers.len()).take(group);
            let own: Vec<usize> =
                beside.take_while(|&index| alike(index) == alike(first)).collect();
            let examples: Vec<Example<'_>> = own
                .iter()
                .map(|&index| Example { chunks: &self.fit[index], mean: &self.layers[index].costs })
                .collect();
            let judge = |example: usize, policy: &LayerPolicy, chunks: &[&Chunk]| {
                self.paid(first + example, policy, chunks.iter().copied())
            };
            all.extend(train(&examples, &self.prices, self.elements[first], judge));
        }
        all
    }

    /// What a layer's choices cost.
    fn paid<'c>(
        &self,
        index: usize,
        policy: &LayerPolicy,
        chunks: impl Iterator<Item = &'c Chunk> + Clone,
    ) -> f64 {
        paid(policy, chunks, &self.prices, self.elements[index])
    }

    /// What a layer's router does on chunks held out.
    fn learned(&self, index: usize, trained: &Trained) -> Learned {
        let held_out = &self.held_out[index];
        let constant = self.paid(index, &self.layers[index], held_out.iter());
        let share = self.paid(index, &trained.policy, held_out.iter()) / constant;
        // What is paid at every price is a share of the best.
        Learned { share, best: self.prices.len() as f64 / constant, layers: trained.layers }
    }
}

/// Most bytes that a policy of these layers takes.
pub fn bytes_max(spec: &ModelSpec) -> u64 {
    let layer = |attention| {
        let weights = (2 * u64::from(router_inputs(attention)) + (PARTS * BITS.len()) as u64)
            * router::WIDTH as u64;
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

/// What a policy says that a chunk costs.
fn predicted(policy: &LayerPolicy, chunk: &Chunk) -> Costs {
    tell(
        policy,
        chunk.inputs.chunks_exact(chunk.inputs.len() / ROWS).map(|row| row.iter().copied()),
    )
}

/// What a policy's choices cost at all prices, each as a share of the best choices.
fn paid<'c>(
    policy: &LayerPolicy,
    chunks: impl Iterator<Item = &'c Chunk> + Clone,
    prices: &[Price],
    elements: [usize; PARTS],
) -> f64 {
    let mut sum = 0.0;
    for &price in prices {
        let worth = |chunk: &Chunk, chosen: [u32; PARTS]| -> f64 {
            let part = |part: usize| {
                let index =
                    BITS.iter().position(|&bits| bits == chosen[part]).expect("one of them");
                let bytes = (elements[part] * chosen[part] as usize) as f64 / 8.0;
                chunk.costs[part][index] + f64::from(price.byte) * bytes
            };
            (0..PARTS).filter(|&own| elements[own] > 0).map(part).sum()
        };
        let best = |chunk: &Chunk| {
            choose(&chunk.costs.map(|costs| costs.map(|cost| cost.ln() as f32)), price, elements)
        };
        let own: f64 = chunks
            .clone()
            .map(|chunk| worth(chunk, choose(&predicted(policy, chunk), price, elements)))
            .sum();
        sum += own / chunks.clone().map(|chunk| worth(chunk, best(chunk))).sum::<f64>();
    }
    sum
}

/// The prices at which choices have at most [`AVERAGES`] bits on average, over all layers and
/// chunks.
fn prices(layers: &[LayerPolicy], fit: &[Vec<Chunk>], elements: &[[usize; PARTS]]) -> Vec<Price> {
    let predicted: Vec<Vec<Costs>> = layers
        .iter()
        .zip(fit)
        .map(|(layer, chunks)| chunks.iter().map(|chunk| self::predicted(layer, chunk)).collect())
        .collect();
    let average = |byte: f32| {
        let (mut bits, mut codes) = (0.0, 0.0);
        for (costs_of, &elements) in predicted.iter().zip(elements) {
            for costs in costs_of {
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
