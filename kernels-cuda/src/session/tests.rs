//! A session over rings beside one over f16: small networks of random weights, run by the
//! emulation.

use std::io::Write;
use std::sync::Arc;

use hardtack_format::network::{
    AttentionTensors, BlockTensors, FeedForwardTensors, GroupedTensors, LatentTensors, LayerTensors,
};
use hardtack_format::spec::{
    Activation, AttentionKind, AttentionSpec, FeedForwardKind, FeedForwardSpec, HeadNorm,
    LayerSpec, ModelSpec,
};
use hardtack_format::{Encoding, Network, TensorRef};
use hardtack_kernels::ring_shape::{CHUNK, RingShape};

use super::Session;
use crate::cache::{CachePart, KvElement, KvStore};
use crate::emulator::{Emulator, Order};
use crate::error::CudaError;
use crate::model::Model;
use crate::ring::{ChunkPlace, RingLayout};

const HIDDEN: u32 = 32;
const VOCABULARY: u32 = 40;
const ROPE: u32 = 8;
const REACH: usize = 3 * CHUNK;

/// Weights in the order in which they were made.
#[derive(Default)]
struct Weights {
    bytes: Vec<u8>,
    state: u32,
}

impl Weights {
    fn add(
        &mut self,
        encoding: Encoding,
        [stack, rows, columns]: [u32; 3],
        bytes: u64,
        [centre, spread]: [f32; 2],
    ) -> TensorRef {
        let offset = self.bytes.len() as u64;
        for _ in 0..bytes.next_multiple_of(64) / 4 {
            // Numerical Recipes' generator.
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = centre + spread * ((self.state >> 8) as f32 / (1 << 23) as f32 - 1.0);
            self.bytes.extend(value.to_le_bytes());
        }
        TensorRef { encoding, stack, rows, columns, offset, bytes }
    }

    fn matrices(&mut self, stack: u32, rows: u32, columns: u32) -> TensorRef {
        let bytes = u64::from(stack * rows.div_ceil(16)) * Encoding::F32.panel_bytes(columns);
        self.add(Encoding::F32, [stack, rows, columns], bytes, [0.0, 0.4])
    }

    fn matrix(&mut self, rows: u32, columns: u32) -> TensorRef {
        self.matrices(1, rows, columns)
    }

    fn vector(&mut self, columns: u32) -> TensorRef {
        self.add(Encoding::Plain, [1, 1, columns], u64::from(columns) * 4, [1.0, 0.2])
    }

    fn attention(&mut self, spec: &AttentionSpec) -> AttentionTensors {
        match spec.kind {
            AttentionKind::Grouped { kv_heads, head_dim, .. } => {
                AttentionTensors::Grouped(GroupedTensors {
                    query: self.matrix(spec.heads * head_dim, HIDDEN),
                    key: self.matrix(kv_heads * head_dim, HIDDEN),
                    value: self.matrix(kv_heads * head_dim, HIDDEN),
                    output: self.matrix(HIDDEN, spec.heads * head_dim),
                    query_bias: None,
                    key_bias: None,
                    value_bias: None,
                    output_bias: None,
                    query_norm: None,
                    key_norm: None,
                    sinks: Some(self.vector(spec.heads)),
                })
            }
            AttentionKind::Latent { kv_rank, nope_dim, value_dim, .. } => {
                AttentionTensors::Latent(LatentTensors {
                    query: self.matrix(spec.heads * (nope_dim + ROPE), HIDDEN),
                    query_down: None,
                    key_value_down: self.matrix(kv_rank + ROPE, HIDDEN),
                    key_value_norm: self.vector(kv_rank),
                    key_up: self.matrices(spec.heads, kv_rank, nope_dim),
                    value_up: self.matrices(spec.heads, value_dim, kv_rank),
                    output: self.matrix(HIDDEN, spec.heads * value_dim),
                })
            }
        }
    }

    fn layer(&mut self, spec: &LayerSpec) -> LayerTensors {
        LayerTensors {
            attention_norm: self.vector(HIDDEN),
            attention: self.attention(&spec.attention),
            feed_forward_norm: self.vector(HIDDEN),
            feed_forward: FeedForwardTensors::Dense(BlockTensors {
                gated: self.matrix(32, HIDDEN),
                up: self.matrix(32, HIDDEN),
                down: self.matrix(HIDDEN, 32),
                gated_bias: None,
                up_bias: None,
                down_bias: None,
            }),
        }
    }
}

/// Two layers: with and without a window, or of latents.
fn network(latent: bool) -> (Network, Vec<u8>) {
    let grouped = AttentionKind::Grouped { kv_heads: 2, head_dim: 16, norm: HeadNorm::None };
    let latents = AttentionKind::Latent { query_rank: 0, kv_rank: 24, nope_dim: 8, value_dim: 8 };
    let (kind, windows) = if latent { (latents, [0, 0]) } else { (grouped, [0, 70]) };
    let layers = windows.map(|window| LayerSpec {
        attention: AttentionSpec {
            heads: 6,
            score_scale: 0.3,
            window,
            rope_dim: ROPE,
            rope_scale: 1.0,
            kind,
        },
        feed_forward: FeedForwardSpec {
            activation: Activation::Silu,
            kind: FeedForwardKind::Dense { inner: 32 },
        },
    });
    let spec = ModelSpec {
        vocabulary: VOCABULARY,
        hidden: HIDDEN,
        context_max: 1 << 20,
        norm_epsilon: 1e-5,
        embedding_scale: 1.0,
        residual_scale: 0.5,
        logit_scale: 1.0,
        layers: layers.to_vec(),
    };
    let mut weights = Weights::default();
    let embedding = weights.matrix(VOCABULARY, HIDDEN);
    let layers = spec.layers.iter().map(|layer| weights.layer(layer)).collect();
    let (head, final_norm) = (embedding, weights.vector(HIDDEN));
    let network = Network {
        spec,
        embedding,
        head,
        final_norm,
        rope_frequencies: None,
        layers,
        kv_policy: None,
    };
    (network, weights.bytes)
}

/// A model on a device of its own, none, loudly, where no C++ compiler is at hand.
fn model(latent: bool) -> Option<Arc<Model<Emulator>>> {
    let program = std::env::current_exe().unwrap();
    let device = match Emulator::start(program.parent().unwrap(), true, Order::Forwards) {
        Err(error @ CudaError::NoCompiler { .. }) => {
            let _ = std::io::stderr()
                .write_all(format!("SKIPPED: {error}: nothing is emulated\n").as_bytes());
            return None;
        }
        device => device.unwrap(),
    };
    let (network, weights) = network(latent);
    let frequencies = (0..ROPE / 2).map(|index| 0.2f32.powi(index.cast_signed())).collect();
    Some(Arc::new(Model::of_weights(device, network, frequencies, &weights).unwrap()))
}

fn rings(model: &Model<Emulator>) -> KvStore {
    let layer = |layer: &LayerSpec| RingLayout {
        shape: RingShape::of(&layer.attention),
        units: 40,
        chunks: 2,
    };
    KvStore::Ring(model.network.spec.layers.iter().map(layer).collect())
}

fn logits(session: &mut Session<Emulator>) -> Vec<f32> {
    let mut logits = vec![0.0; VOCABULARY as usize];
    session.read_logits(&mut logits).unwrap();
    logits
}

/// Runs tokens up to a position in pieces and returns the last one's logits.
fn feed(session: &mut Session<Emulator>, from: usize, to: usize, size: usize) -> Vec<f32> {
    let tokens: Vec<u32> = (0..to as u32).map(|at| at * 7 % VOCABULARY).collect();
    for (index, piece) in tokens[from..].chunks(size).enumerate() {
        session.pass(from + index * size, piece).unwrap();
        if piece.len() > 1 {
            session.make_logits(piece.len() - 1).unwrap();
        }
    }
    logits(session)
}

fn places(chunk: usize, bits: u32) -> ChunkPlace {
    let units =
        [0, 8].map(|first| std::array::from_fn(|unit| (chunk % 2 * 16 + first + unit) as u32));
    ChunkPlace { chunk: chunk as u32, entry: chunk as u32 % 2, bits: [bits; 2], units }
}

/// Begins a chunk in every layer: the one before is sealed, and with `bits` of each code the ring
/// gets two at most.
fn begin(session: &mut Session<Emulator>, chunk: usize, bits: u32) {
    for layer in 0..2 {
        let first = usize::from(session.model().network.spec.layers[layer].attention.window == 0);
        if chunk > first {
            session.seal(layer, &places(chunk - 1, 8)).unwrap();
        }
        let chunks: Vec<ChunkPlace> =
            (first.max(chunk.saturating_sub(2))..chunk).map(|chunk| places(chunk, bits)).collect();
        session.set_chunks(layer, &chunks).unwrap();
    }
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn check(latent: bool) {
    let Some(model) = model(latent) else { return };
    let mut exact = Session::new(model.clone(), 4 * CHUNK, 32, KvElement::F16).unwrap();
    let mut ring = Session::new(model.clone(), REACH + 5, 32, rings(&model)).unwrap();
    let size = |logits: &[f32]| logits.iter().fold(0.0f32, |size, logit| size.max(logit.abs()));
    for chunk in 0..3 {
        if chunk > 0 {
            begin(&mut ring, chunk, 8);
        }
        for (from, to) in [(0, 32), (32, CHUNK - 5), (CHUNK - 5, CHUNK)] {
            let (from, to) = (chunk * CHUNK + from, chunk * CHUNK + to);
            let expected = feed(&mut exact, from, to, 32);
            let found = feed(&mut ring, from, to, 32);
            let off = difference(&found, &expected);
            // What codes of 8 bits lose, later layers enlarge.
            let share = if chunk < 2 && latent { 0.005 } else { 0.05 };
            assert!(
                off <= share * size(&expected),
                "latent {latent}, up to {to}: {off} of {}",
                size(&expected)
            );
        }
    }
    // Beyond the reach: the first chunk is moved. Another session continues from the same bytes,
    // token by token.
    begin(&mut ring, 3, 8);
    let mut copy = Session::new(model.clone(), REACH, 1, rings(&model)).unwrap();
    for layer in 0..2 {
        for part in [CachePart::F16, CachePart::Units, CachePart::Scales] {
            let mut bytes = vec![0; ring.cache_bytes(layer, part) as usize];
            ring.read_cache(layer, part, 0, &mut bytes).unwrap();
            let (first, second) = bytes.split_at(bytes.len() / 3);
            copy.write_cache(layer, part, 0, first).unwrap();
            copy.write_cache(layer, part, first.len() as u64, second).unwrap();
        }
        let first = usize::from(ring.sizes.ring(layer).unwrap().shape.window == 0);
        copy.set_chunks(
            layer,
            &(first.max(1)..3).map(|chunk| places(chunk, 8)).collect::<Vec<_>>(),
        )
        .unwrap();
    }
    let (from, to) = (3 * CHUNK, 3 * CHUNK + 9);
    let (found, single) = (feed(&mut ring, from, to, 4), feed(&mut copy, from, to, 1));
    assert!(single == found, "latent {latent}, token by token: {}", difference(&single, &found));
    // The open chunk's keys come after the first one's.
    let layout = *ring.sizes.ring(0).unwrap();
    let mut keys = vec![0; layout.shape.matrix_elements(0) * 2];
    let mut again = keys.clone();
    ring.open_keys(0, &mut keys).unwrap();
    ring.read_cache(0, CachePart::F16, layout.shape.chunk_elements() as u64 * 2, &mut again)
        .unwrap();
    assert!(keys == again && keys.iter().any(|byte| *byte != 0), "open keys");
    // Fewer bits are set and change something; all of them are still there.
    let mut told = |bits| {
        for layer in 0..2 {
            copy.set_chunks(layer, &[places(1, bits), places(2, bits)]).unwrap();
        }
        feed(&mut copy, to - 1, to, 1)
    };
    let demoted = told(2);
    assert!(
        demoted != found && demoted.iter().all(|logit| logit.is_finite()),
        "latent {latent}, demoted"
    );
    assert!(told(8) == found, "latent {latent}, as before");
}

#[test]
fn a_ring_of_grouped_layers_follows_half_floats() {
    check(false);
}

#[test]
fn a_ring_of_latent_layers_follows_half_floats() {
    check(true);
}
