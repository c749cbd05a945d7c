//! A kv_router, trained alone on chunks whose costs are known: what it chooses at each price is to
//! cost the least, its bytes included (MoQAE, arXiv 2506.07533, with costs per chunk in the place
//! of one loss per text).

use hardtack_format::kv_policy::{BITS, Costs, KvRouter, LayerPolicy, PARTS, Price};
use ndarray::{Array2, ArrayView2, Axis};

use super::costs::{Chunk, ROWS};
use crate::calibrate::adam::Learner;

/// Units of a router.
pub const WIDTH: usize = 8;
const STEPS: usize = 300;
const RATE: f32 = 0.01;
/// One chunk in this many is not learned from: it says when to stop.
const WATCHED: usize = 4;
/// Steps between two looks at what is watched.
const LOOK: usize = 20;
/// How soft a choice is, at the first step and at the last: a worth that is this share larger is
/// taken 1/e as often.
const SOFTNESS: [f32; 2] = [0.5, 0.05];
/// How much of W1, W2, W3 and of costs is lost in a step, as a share of the rate.
const DECAY: [f32; 4] = [1e-2, 1e-2, 1e-2, 0.0];
/// Costs of all parts.
const OUTPUTS: usize = PARTS * BITS.len();

/// What a router learns from: chunks of a layer, and the logarithms of their mean costs, where
/// learning begins.
#[derive(Clone, Copy)]
pub struct Example<'a> {
    pub chunks: &'a [Chunk],
    pub mean: &'a Costs,
}

/// What a layer has from training.
pub struct Trained {
    pub policy: LayerPolicy,
    /// Layers that learned together.
    pub layers: usize,
    /// What it costs on the layer's chunks that were not learned from.
    pub cost: f64,
}

/// Chunks of all examples that are learned from, as matrices.
struct Learned<'a> {
    /// `[chunks * ROWS, inputs]`, each column of a example of size one.
    x: Array2<f32>,
    /// The chunks, each with its example.
    chunks: Vec<(&'a Chunk, usize)>,
    prices: &'a [Price],
    /// A token's numbers in each part.
    elements: [usize; PARTS],
}

/// Trains one router on the chunks of one layer or of several (routing sharing). Each layer gets
/// the same weights but for the sizes of its inputs, which are folded into them, costs of its own
/// that the router adds to, and the state of training that did best on chunks of its own that were
/// not learned from: `judge` says what a layer's policy costs on some of its chunks.
pub fn train(
    examples: &[Example<'_>],
    prices: &[Price],
    elements: [usize; PARTS],
    judge: impl Fn(usize, &LayerPolicy, &[&Chunk]) -> f64,
) -> Vec<Trained> {
    let inputs = examples[0].chunks[0].inputs.len() / ROWS;
    let mut rows = Vec::new();
    let mut learned = Vec::new();
    let mut students: Vec<Student<'_>> = Vec::new();
    for (index, example) in examples.iter().enumerate() {
        let (watched, own): (Vec<_>, Vec<_>) = example
            .chunks
            .iter()
            .enumerate()
            .partition(|(index, _)| index % WATCHED == WATCHED - 1);
        let own: Vec<&Chunk> = own.into_iter().map(|(_, chunk)| chunk).collect();
        let all: Vec<f32> = own.iter().flat_map(|chunk| chunk.inputs.iter().copied()).collect();
        let mut x =
            Array2::from_shape_vec((own.len() * ROWS, inputs), all).expect("rows of every chunk");
        // Inputs of one size learn alike; their sizes go into the weights afterwards.
        let sizes = x.map_axis(Axis(0), |column| {
            (column.iter().map(|value| value * value).sum::<f32>() / column.len() as f32)
                .sqrt()
                .max(1e-12)
        });
        x /= &sizes;
        rows.extend(x);
        learned.extend(own.into_iter().map(|chunk| (chunk, index)));
        let watched = watched.into_iter().map(|(_, chunk)| chunk).collect();
        let best =
            Trained { policy: LayerPolicy::default(), layers: examples.len(), cost: f64::INFINITY };
        students.push(Student { sizes: sizes.to_vec(), watched, best });
    }
    let x =
        Array2::from_shape_vec((learned.len() * ROWS, inputs), rows).expect("rows of every chunk");
    let learned = Learned { x, chunks: learned, prices, elements };
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let scale = 1.0 / (inputs as f32).sqrt();
    let mut random = |count: usize| (0..count).map(|_| noise.next() * scale).collect::<Vec<f32>>();
    let mut learners = [
        Learner::new(random(inputs * WIDTH), RATE),
        Learner::new(random(inputs * WIDTH), RATE),
        Learner::new(vec![0.0; OUTPUTS * WIDTH], RATE),
        Learner::new(
            examples.iter().flat_map(|example| example.mean.as_flattened()).copied().collect(),
            RATE,
        ),
    ];
    for step in 0..=STEPS {
        if step % LOOK == 0 {
            for (index, student) in students.iter_mut().enumerate() {
                student.look(index, &learners, |policy, chunks| judge(index, policy, chunks));
            }
        }
        if step == STEPS {
            break;
        }
        let done = step as f32 / STEPS as f32;
        let softness = SOFTNESS[0] * (SOFTNESS[1] / SOFTNESS[0]).powf(done);
        let gradients = gradients(
            &learned,
            learners.each_ref().map(|learner| learner.values.as_slice()),
            softness,
        );
        for ((learner, gradient), decay) in learners.iter_mut().zip(gradients).zip(DECAY) {
            learner.step(&gradient, step as i32 + 1, 1.0 - done, decay);
        }
    }
    students.into_iter().map(|student| student.best).collect()
}

/// A layer that gets a router.
struct Student<'a> {
    /// Of its inputs.
    sizes: Vec<f32>,
    /// Chunks that are not learned from.
    watched: Vec<&'a Chunk>,
    best: Trained,
}

impl Student<'_> {
    /// Takes what is learned as it is now if it is better than any before.
    fn look(
        &mut self,
        index: usize,
        [gate, up, out, costs]: &[Learner; 4],
        judge: impl Fn(&LayerPolicy, &[&Chunk]) -> f64,
    ) {
        let unscaled = |learner: &Learner| {
            let rows = learner.values.chunks_exact(WIDTH).zip(&self.sizes);
            rows.flat_map(|(row, size)| row.iter().map(move |weight| weight / size)).collect()
        };
        let router = KvRouter {
            width: WIDTH as u32,
            gate: unscaled(gate),
            up: unscaled(up),
            out: out.values.clone(),
        };
        let mut now = LayerPolicy { costs: Costs::default(), router: Some(router) };
        now.costs.as_flattened_mut().copy_from_slice(&costs.values[index * OUTPUTS..][..OUTPUTS]);
        let cost = judge(&now, &self.watched);
        if cost < self.best.cost {
            self.best = Trained { policy: now, cost, ..self.best };
        }
    }
}

/// Gradients at W1, W2, W3 and the examples' costs of what soft choices cost on average.
fn gradients(
    learned: &Learned<'_>,
    [gate, up, out, costs]: [&[f32]; 4],
    softness: f32,
) -> [Vec<f32>; 4] {
    let Learned { x, chunks, prices, elements } = learned;
    let inputs = x.ncols();
    let matrix = |values, rows| ArrayView2::from_shape((rows, WIDTH), values).expect("its shape");
    let (gate, up, out) = (matrix(gate, inputs), matrix(up, inputs), matrix(out, OUTPUTS));
    let (gates, ups) = (x.dot(&gate), x.dot(&up));
    let silu = gates.mapv(|gate| gate / (1.0 + (-gate).exp()));
    // `[chunks, WIDTH]`
    let units = (&silu * &ups)
        .into_shape_with_order((chunks.len(), ROWS, WIDTH))
        .expect("rows of every chunk");
    let units = units.mean_axis(Axis(1)).expect("there are rows");
    let mut predicted = units.dot(&out.t());
    for (mut row, (_, example)) in predicted.rows_mut().into_iter().zip(chunks) {
        row.iter_mut()
            .zip(&costs[example * OUTPUTS..])
            .for_each(|(predicted, cost)| *predicted += cost);
    }
    let mut slopes = Array2::zeros(predicted.raw_dim());
    for (((chunk, _), predicted), mut slopes) in
        chunks.iter().zip(predicted.rows()).zip(slopes.rows_mut())
    {
        for price in *prices {
            for part in (0..PARTS).filter(|&part| elements[part] > 0) {
                let outputs = part * BITS.len()..(part + 1) * BITS.len();
                let predicted: [f32; BITS.len()] =
                    std::array::from_fn(|bits| predicted[outputs.start + bits]);
                let own = slope(&predicted, &chunk.costs[part], *price, elements[part], softness);
                for (bits, own) in own.into_iter().enumerate() {
                    slopes[outputs.start + bits] += own / chunks.len() as f32;
                }
            }
        }
    }
    let out_gradient = slopes.t().dot(&units);
    // `[chunks, WIDTH]` to every row of the chunk.
    let unit_slopes = slopes.dot(&out) / ROWS as f32;
    let mut up_slopes = silu;
    let mut gate_slopes = ups;
    for (row, (mut up, mut gate)) in
        up_slopes.rows_mut().into_iter().zip(gate_slopes.rows_mut()).enumerate()
    {
        for unit in 0..WIDTH {
            let (slope, input) = (unit_slopes[(row / ROWS, unit)], gates[(row, unit)]);
            let sigmoid = 1.0 / (1.0 + (-input).exp());
            gate[unit] *= slope * sigmoid * (1.0 + input * (1.0 - sigmoid));
            up[unit] *= slope;
        }
    }
    let mut costs_gradient = vec![0.0; costs.len()];
    for (row, (_, example)) in slopes.rows().into_iter().zip(chunks) {
        costs_gradient[example * OUTPUTS..]
            .iter_mut()
            .zip(row)
            .for_each(|(sum, slope)| *sum += slope);
    }
    let flat = |array: Array2<f32>| array.iter().copied().collect::<Vec<f32>>();
    [flat(x.t().dot(&gate_slopes)), flat(x.t().dot(&up_slopes)), flat(out_gradient), costs_gradient]
}

/// Slope, at each predicted logarithm, of what a soft choice by them costs, as a share of the
/// cheapest choice.
fn slope(
    predicted: &[f32; BITS.len()],
    costs: &[f64; BITS.len()],
    price: Price,
    elements: usize,
    softness: f32,
) -> [f32; BITS.len()] {
    let bytes: [f32; BITS.len()] =
        BITS.map(|bits| price.byte * (elements * bits as usize) as f32 / 8.0);
    let truth: [f32; BITS.len()] = std::array::from_fn(|bits| costs[bits] as f32 + bytes[bits]);
    let cheapest = truth.iter().copied().fold(f32::INFINITY, f32::min).max(f32::MIN_POSITIVE);
    let worths: [f32; BITS.len()] = std::array::from_fn(|bits| predicted[bits].exp() + bytes[bits]);
    let least = worths.iter().copied().fold(f32::INFINITY, f32::min);
    let shares = worths.map(|worth| (least / worth).powf(1.0 / softness));
    let sum: f32 = shares.iter().sum();
    let mean: f32 =
        shares.iter().zip(truth).map(|(share, truth)| share / sum * truth / cheapest).sum();
    std::array::from_fn(|bits| {
        let at_logit = shares[bits] / sum * (truth[bits] / cheapest - mean);
        -at_logit / softness * predicted[bits].exp() / worths[bits]
    })
}

/// The same numbers between -1 and 1 every time (xorshift64*).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use hardtack_kernels::kv_router::{choose, costs};

    use super::*;

    const PRICE: Price = Price { bits: 4.0, byte: 0.01 };

    /// Chunks with long keys cost ten times as much. All keys are `size` times as long, all costs
    /// `dear` times as high.
    fn chunks(size: f32, dear: f32) -> (Vec<Chunk>, Costs) {
        let chunk = |index: usize| {
            let long = index % 3 == 1;
            let cost = |bits: u32| {
                4f64.powi(2 - bits as i32) * f64::from(dear) * if long { 10.0 } else { 1.0 }
            };
            let size = size * if long { 3.0 } else { 1.0 };
            let inputs = (0..ROWS * 4).map(|at| size * (1.0 + (at * 7 % 5) as f32 * 0.1)).collect();
            Chunk { costs: [BITS.map(cost); PARTS], inputs }
        };
        let mean = BITS.map(|bits| (5.5 * dear * 4f32.powi(2 - bits as i32)).ln());
        ((0..40).map(chunk).collect(), [mean; PARTS])
    }

    fn predicted(policy: &LayerPolicy, chunk: &Chunk) -> [u32; PARTS] {
        let keys: Vec<f16> = chunk.inputs.iter().map(|&value| f16::from_f32(value)).collect();
        choose(&costs(policy, &keys, 4, 0), PRICE, [8, 8])
    }

    fn best(chunk: &Chunk) -> [u32; PARTS] {
        choose(&chunk.costs.map(|costs| costs.map(|cost| (cost as f32).ln())), PRICE, [8, 8])
    }

    #[test]
    fn slopes_are_those_of_what_choices_cost() {
        let (chunks, base) = chunks(1.0, 1.0);
        let costs = &chunks[1].costs[0];
        let value = |predicted: &[f32; BITS.len()]| {
            let bytes = BITS.map(|bits| PRICE.byte * (8 * bits) as f32 / 8.0);
            let worths: Vec<f32> = predicted
                .iter()
                .zip(bytes)
                .map(|(predicted, bytes)| predicted.exp() + bytes)
                .collect();
            let shares: Vec<f32> = worths.iter().map(|worth| worth.powf(-1.0 / 0.3)).collect();
            let truth: Vec<f32> =
                costs.iter().zip(bytes).map(|(&cost, bytes)| cost as f32 + bytes).collect();
            let sum: f32 = shares.iter().sum();
            let cheapest = truth.iter().copied().fold(f32::INFINITY, f32::min);
            shares
                .iter()
                .zip(truth)
                .map(|(share, truth)| share / sum * truth / cheapest)
                .sum::<f32>()
        };
        let slopes = slope(&base[0], costs, PRICE, 8, 0.3);
        for bits in 0..BITS.len() {
            let moved = |by: f32| {
                let mut predicted = base[0];
                predicted[bits] += by;
                value(&predicted)
            };
            let expected = (moved(0.01) - moved(-0.01)) / 0.02;
            assert!(
                (slopes[bits] - expected).abs() < 2e-2 * expected.abs().max(0.02),
                "{} {expected}",
                slopes[bits]
            );
        }
    }

    #[test]
    fn layers_alone_or_together_learn_which_chunks_cost_more() {
        let layers = [chunks(1.0, 1.0), chunks(7.0, 2.0)];
        let examples: Vec<Example<'_>> =
            layers.iter().map(|(chunks, mean)| Example { chunks, mean }).collect();
        let wrong = |policy: &LayerPolicy, chunks: &[&Chunk]| {
            chunks.iter().filter(|chunk| predicted(policy, chunk) != best(chunk)).count() as f64
        };
        for examples in [&examples[..1], &examples[1..], &examples] {
            let trained =
                train(examples, &[PRICE], [8, 8], |_, policy, chunks| wrong(policy, chunks));
            assert_eq!(trained.len(), examples.len());
            for (at, Trained { policy, cost, .. }) in trained.iter().enumerate() {
                let chunks: Vec<&Chunk> = examples[at].chunks.iter().collect();
                assert_ne!(best(chunks[0]), best(chunks[1]));
                assert_eq!(
                    (wrong(policy, &chunks), *cost),
                    (0.0, 0.0),
                    "{at} of {}",
                    examples.len()
                );
            }
        }
    }
}
