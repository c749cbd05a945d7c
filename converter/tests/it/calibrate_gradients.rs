//! Every kind of operation's gradient against finite differences, on small random shapes in double
//! precision.

use candle_core::{DType, Device, Result, Tensor, Var};
use hardtack_converter::calibrate::graph::*;
use hardtack_format::spec::*;
use hardtack_testing::Numbers;

/// Step of the central differences; their own error is of the order of its square.
const STEP: f64 = 1e-5;
/// Largest difference between a gradient and its finite difference, relative to the largest
/// gradient.
const TOLERANCE: f64 = 1e-7;

const TOKENS: usize = 7;
const HIDDEN: usize = 12;

/// Random tensors.
struct Random(Numbers);

impl Random {
    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| self.0.signed()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// A gain, away from zero.
    fn gain(&mut self, length: usize) -> Tensor {
        ((self.tensor(&[length]) * 0.3).unwrap() + 1.0).unwrap()
    }

    fn block(&mut self, inner: usize, biases: bool) -> BlockWeights {
        BlockWeights {
            gated: self.tensor(&[inner, HIDDEN]),
            up: self.tensor(&[inner, HIDDEN]),
            down: self.tensor(&[HIDDEN, inner]),
            gated_bias: biases.then(|| self.tensor(&[inner])),
            up_bias: biases.then(|| self.tensor(&[inner])),
            down_bias: biases.then(|| self.tensor(&[HIDDEN])),
        }
    }
}

fn random(seed: u64) -> Random {
    Random(Numbers(seed))
}

fn pass(frequencies: usize) -> Pass {
    let frequencies: Vec<f32> = (0..frequencies).map(|index| 0.7 / (index + 1) as f32).collect();
    Pass {
        turns: Turns::new(&frequencies, TOKENS, DType::F64).unwrap(),
        epsilon: 1e-5,
        residual_scale: 0.7,
    }
}

/// Holds the gradient of a weighted sum of `function`'s output to its central differences at every
/// element of `at`.
fn check(name: &str, at: Tensor, function: impl Fn(&Tensor) -> Result<Tensor>) {
    let direction = random(99).tensor(function(&at).unwrap().dims());
    let sum = |x: &Tensor| (function(x).unwrap() * &direction).unwrap().sum_all().unwrap();
    let variable = Var::from_tensor(&at).unwrap();
    let gradients = sum(variable.as_tensor()).backward().unwrap();
    let gradient =
        gradients.get(&variable).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let values = at.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let moved = |index: usize, step: f64| {
        let mut values = values.clone();
        values[index] += step;
        sum(&Tensor::from_vec(values, at.shape(), &Device::Cpu).unwrap())
            .to_scalar::<f64>()
            .unwrap()
    };
    let largest = gradient.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    assert!(largest > 1e-3, "{name}: nothing flows back");
    for (index, found) in gradient.iter().enumerate() {
        let expected = (moved(index, STEP) - moved(index, -STEP)) / (2.0 * STEP);
        assert!(
            (found - expected).abs() <= TOLERANCE * largest,
            "{name}, element {index}: {found}, not {expected}"
        );
    }
}

#[test]
fn norm_and_linear() {
    let mut random = random(1);
    let (gain, matrix, bias) =
        (random.gain(HIDDEN), random.tensor(&[5, HIDDEN]), random.tensor(&[5]));
    check("norm", random.tensor(&[TOKENS, HIDDEN]), |x| rms_norm(x, &gain, 1e-5));
    check("linear", random.tensor(&[TOKENS, HIDDEN]), |x| linear(x, &matrix, Some(&bias)));
}

fn grouped(window: u32, rope_dim: u32, norm: HeadNorm) -> LayerSpec {
    LayerSpec {
        attention: AttentionSpec {
            heads: 4,
            score_scale: 0.6,
            window,
            rope_dim,
            rope_scale: 1.2,
            kind: AttentionKind::Grouped { kv_heads: 2, head_dim: 6, norm },
        },
        feed_forward: FeedForwardSpec {
            activation: Activation::Silu,
            kind: FeedForwardKind::Dense { inner: 9 },
        },
    }
}

fn grouped_weights(random: &mut Random, norm: HeadNorm, extras: bool) -> GroupedWeights {
    let (heads, kv_heads) = match norm {
        HeadNorm::Whole => (24, 12),
        _ => (6, 6),
    };
    GroupedWeights {
        query: random.tensor(&[24, HIDDEN]),
        key: random.tensor(&[12, HIDDEN]),
        value: random.tensor(&[12, HIDDEN]),
        output: random.tensor(&[HIDDEN, 24]),
        query_bias: extras.then(|| random.tensor(&[24])),
        key_bias: extras.then(|| random.tensor(&[12])),
        value_bias: extras.then(|| random.tensor(&[12])),
        output_bias: extras.then(|| random.tensor(&[HIDDEN])),
        query_norm: (norm != HeadNorm::None).then(|| random.gain(heads)),
        key_norm: (norm != HeadNorm::None).then(|| random.gain(kv_heads)),
        sinks: extras.then(|| random.tensor(&[4])),
    }
}

#[test]
fn grouped_attention() {
    for (name, window, rope_dim, norm, extras) in [
        ("plain attention", 0, 6, HeadNorm::None, false),
        ("window, sinks and biases", 3, 6, HeadNorm::None, true),
        ("partial RoPE and head norm", 0, 4, HeadNorm::PerHead, false),
        ("whole norm without RoPE", 2, 0, HeadNorm::Whole, true),
    ] {
        let mut random = random(2);
        let spec = grouped(window, rope_dim, norm);
        let weights = AttentionWeights::Grouped(grouped_weights(&mut random, norm, extras));
        let (gain, pass) = (random.gain(HIDDEN), pass(3));
        check(name, random.tensor(&[TOKENS, HIDDEN]), |x| {
            attention_block(&spec, &gain, &weights, x, &pass)
        });
    }
}

#[test]
fn latent_attention() {
    for query_rank in [0, 5] {
        let mut random = random(3);
        let mut spec = grouped(0, 4, HeadNorm::None);
        spec.attention.kind =
            AttentionKind::Latent { query_rank, kv_rank: 5, nope_dim: 3, value_dim: 2 };
        let query_columns = if query_rank == 0 { HIDDEN } else { 5 };
        let weights = AttentionWeights::Latent(LatentWeights {
            query: random.tensor(&[4 * 7, query_columns]),
            query_down: (query_rank > 0).then(|| (random.tensor(&[5, HIDDEN]), random.gain(5))),
            key_value_down: random.tensor(&[5 + 4, HIDDEN]),
            key_value_norm: random.gain(5),
            key_up: random.tensor(&[4, 5, 3]),
            value_up: random.tensor(&[4, 2, 5]),
            output: random.tensor(&[HIDDEN, 8]),
        });
        let (gain, pass) = (random.gain(HIDDEN), pass(2));
        check("latent attention", random.tensor(&[TOKENS, HIDDEN]), |x| {
            attention_block(&spec, &gain, &weights, x, &pass)
        });
    }
}

#[test]
fn dense_blocks() {
    let clamped = Activation::ClampedSwiglu { alpha: 1.7, limit: 0.8 };
    for (name, activation, biases) in
        [("silu", Activation::Silu, false), ("clamped", clamped, true)]
    {
        let mut random = random(4);
        let weights = random.block(9, biases);
        check(name, random.tensor(&[TOKENS, HIDDEN]), |x| block(activation, &weights, x));
    }
}

const MIXTURE: ExpertsSpec = ExpertsSpec {
    count: 5,
    chosen: 2,
    inner: 9,
    shared_inner: 4,
    gate: GateKind::SoftmaxAll,
    routed_scale: 1.3,
};

fn mixture_weights(random: &mut Random) -> ExpertsWeights {
    ExpertsWeights {
        gate: random.tensor(&[5, HIDDEN]),
        gate_bias: Some(random.tensor(&[5])),
        experts: (0..5).map(|_| random.block(9, false)).collect(),
        shared: Some(random.block(4, false)),
        shared_gate: Some(random.tensor(&[HIDDEN])),
    }
}

#[test]
fn gates_and_experts() {
    for gate in [GateKind::SoftmaxAll, GateKind::SoftmaxChosen] {
        let mut random = random(5);
        let spec = ExpertsSpec { gate, ..MIXTURE };
        let weights = mixture_weights(&mut random);
        let x = random.tensor(&[TOKENS, HIDDEN]);
        check("gate's input", x.clone(), |x| {
            Ok(route(&spec, &weights.gate, weights.gate_bias.as_ref(), x)?.weights)
        });
        check("mixture", x.clone(), |x| Ok(experts(&spec, Activation::Silu, &weights, x)?.0));
        // The gate itself, for the tuning of gates.
        check("gate", weights.gate.clone(), |gate| {
            let weights = ExpertsWeights { gate: gate.clone(), ..weights.clone() };
            Ok(experts(&spec, Activation::Silu, &weights, &x)?.0)
        });
        check("gate's bias", weights.gate_bias.clone().unwrap(), |bias| {
            let weights = ExpertsWeights { gate_bias: Some(bias.clone()), ..weights.clone() };
            Ok(experts(&spec, Activation::Silu, &weights, &x)?.0)
        });
    }
}

#[test]
fn whole_layer_and_loss() {
    let mut random = random(6);
    let mut spec = grouped(3, 6, HeadNorm::PerHead);
    spec.feed_forward.kind = FeedForwardKind::Experts(MIXTURE);
    let weights = LayerWeights {
        attention_norm: random.gain(HIDDEN),
        attention: AttentionWeights::Grouped(grouped_weights(&mut random, HeadNorm::PerHead, true)),
        feed_forward_norm: random.gain(HIDDEN),
        feed_forward: FeedForwardWeights::Experts(mixture_weights(&mut random)),
    };
    let pass = pass(3);
    check("layer", random.tensor(&[TOKENS, HIDDEN]), |x| layer(&spec, &weights, x, &pass));

    let model = ModelSpec {
        vocabulary: 11,
        hidden: HIDDEN as u32,
        context_max: 64,
        norm_epsilon: 1e-5,
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_scale: 0.8,
        layers: Vec::new(),
    };
    let (gain, head) = (random.gain(HIDDEN), random.tensor(&[11, HIDDEN]));
    let targets: Vec<u32> = (0..TOKENS as u32).map(|token| token * 3 % 11).collect();
    check("loss", random.tensor(&[TOKENS, HIDDEN]), |x| {
        cross_entropy(&logits(&model, &gain, &head, x)?, &targets)
    });
}
