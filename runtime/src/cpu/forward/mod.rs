//! One pass over some tokens: embedding, the layers, and the head.

pub(crate) mod attend;
mod attention;
pub(crate) mod exact;
pub(crate) mod feed_forward;
mod latent;
mod layer;
pub(crate) mod ring;
mod rope;
mod router;
mod softmax;

use half::f16;
use hardtack_format::encoding::PANEL_ROWS;
use hardtack_format::kv_policy::LayerPolicy;
use hardtack_format::{Network, TensorRef};
use hardtack_kernels::pack::unpack_row;

use crate::cache::Kv;
use crate::cache::exact::LayerKv;
use crate::cache::ring::RingLayer;
use crate::cpu::inputs::Inputs;
use crate::cpu::multiply::{Cpu, Product};
use crate::cpu::scratch::{Scratch, Turn};

/// What a pass over one number of a row costs, in bytes that memory could deliver meanwhile.
const ROW_COST: usize = 3;

/// What a pass works with: the network, where it runs, and the session's buffers.
pub struct Step<'a> {
    /// The network.
    pub network: &'a Network,
    /// Where it runs.
    pub cpu: Cpu<'a>,
    /// The session's buffers.
    pub scratch: &'a mut Scratch,
    /// Position of the first token.
    pub position: usize,
    /// How many tokens.
    pub tokens: usize,
}

/// Runs `tokens`, which stand at `position` and after, through all layers. The residual stream is
/// left in the scratch.
pub fn run(step: &mut Step<'_>, kv: &mut Kv, tokens: &[u32]) {
    embed(step, tokens);
    turn(step);
    match kv {
        Kv::F16(layers) => run_layers(step, layers.iter_mut().map(LayerCache::F16)),
        Kv::F32(layers) => run_layers(step, layers.iter_mut().map(LayerCache::F32)),
        Kv::Ring(ring) => {
            let policies = step.network.kv_policy.as_ref().map_or(&[][..], |policy| &policy.layers);
            let policies = policies.iter().map(Some).chain(std::iter::repeat(None));
            let layers = ring.layers.iter_mut().zip(policies);
            run_layers(
                step,
                layers.map(|(ring, policy)| LayerCache::Ring(RingCache { ring, policy })),
            );
        }
    }
}

/// One layer's keys and values.
pub enum LayerCache<'a> {
    /// In half floats.
    F16(&'a mut LayerKv<f16>),
    /// In floats.
    F32(&'a mut LayerKv<f32>),
    /// In codes.
    Ring(RingCache<'a>),
}

/// A ring, and what the model says of its bits.
pub struct RingCache<'a> {
    /// The ring.
    pub ring: &'a mut RingLayer,
    /// What bits cost.
    pub policy: Option<&'a LayerPolicy>,
}

/// The last hidden state `[hidden]` of token `index` of the batch, after the final norm: in the
/// scratch, where blocks leave what they add.
pub fn hidden(step: &mut Step<'_>, index: usize) {
    let (hidden, cpu, network) = (step.network.spec.hidden as usize, step.cpu, step.network);
    let Scratch { residual, block, .. } = &mut *step.scratch;
    let stream = &residual[index * hidden..][..hidden];
    let gain = cpu.vector(&network.final_norm);
    normalize_row(&cpu, network.spec.norm_epsilon, stream, gain, &mut block[..hidden]);
}

/// The logits that follow token `index` of the pass, in the scratch.
pub fn logits(step: &mut Step<'_>, index: usize) {
    let (network, cpu) = (step.network, step.cpu);
    let hidden = network.spec.hidden as usize;
    let scratch = &mut *step.scratch;
    let stream = &scratch.residual[index * hidden..(index + 1) * hidden];
    let gain = cpu.vector(&network.final_norm);
    normalize_row(&cpu, network.spec.norm_epsilon, stream, gain, scratch.normed.rows(1, hidden));
    project(
        &cpu,
        network.head,
        &mut scratch.normed,
        1,
        &mut scratch.staging,
        None,
        &mut scratch.logits,
    );
    if network.spec.logit_scale != 1.0 {
        scratch.logits.iter_mut().for_each(|logit| *logit *= network.spec.logit_scale);
    }
}

fn embed(step: &mut Step<'_>, tokens: &[u32]) {
    let (table, hidden) = (&step.network.embedding, step.network.spec.hidden as usize);
    let panel_bytes = table.encoding.panel_bytes(table.columns) as usize;
    for (&token, row) in tokens.iter().zip(step.scratch.residual.chunks_exact_mut(hidden)) {
        let start = table.offset as usize + token as usize / PANEL_ROWS * panel_bytes;
        let panel = &step.cpu.file[start..start + panel_bytes];
        unpack_row(table.encoding, panel, token as usize % PANEL_ROWS, row);
        if step.network.spec.embedding_scale != 1.0 {
            row.iter_mut().for_each(|value| *value *= step.network.spec.embedding_scale);
        }
    }
}

/// RoPE's turns of all positions of the pass, once for all heads and layers.
fn turn(step: &mut Step<'_>) {
    let Some(frequencies) = &step.network.rope_frequencies else { return };
    let frequencies = step.cpu.vector(frequencies);
    let rows = step.scratch.turns.chunks_exact_mut(frequencies.len()).take(step.tokens);
    for (token, row) in rows.enumerate() {
        rope::turns(step.position + token, frequencies, row);
    }
}

/// The turns of one token of the pass.
fn token_turns<'a>(turns: &'a [Turn], network: &Network, token: usize) -> &'a [Turn] {
    let frequencies = network.rope_frequencies.map_or(0, |tensor| tensor.columns as usize);
    &turns[token * frequencies..(token + 1) * frequencies]
}

fn run_layers<'a>(step: &mut Step<'_>, layers: impl Iterator<Item = LayerCache<'a>>) {
    for (index, kv) in layers.enumerate() {
        layer::layer(index, step, kv);
    }
}

impl Step<'_> {
    /// RMS normalization of the residual stream (arXiv 1910.07467, equation 4) into the inputs of
    /// the next matrices.
    fn normalize(&mut self, gain: &TensorRef) {
        let hidden = self.network.spec.hidden as usize;
        let gain = self.cpu.vector(gain);
        let (cpu, epsilon) = (self.cpu, self.network.spec.norm_epsilon);
        let Scratch { residual, normed, .. } = &mut *self.scratch;
        cpu.for_each_chunk(
            normed.rows(self.tokens, hidden),
            hidden,
            ROW_COST * hidden,
            |token, row| {
                normalize_row(&cpu, epsilon, &residual[token * hidden..][..hidden], gain, row);
            },
        );
    }

    /// Adds what a block gave to the residual stream.
    fn add_residual(&mut self) {
        let (hidden, scale) = (self.network.spec.hidden as usize, self.network.spec.residual_scale);
        let (cpu, Scratch { residual, block, .. }) = (self.cpu, &mut *self.scratch);
        let stream = &mut residual[..self.tokens * hidden];
        // Row by row: what a kernel does at a row's end may not depend on how many rows there are.
        cpu.for_each_chunk(stream, hidden, ROW_COST * hidden, |token, row| {
            (cpu.kernels.add_scaled)(row, scale, &block[token * hidden..][..hidden]);
        });
    }
}

/// `out = x / sqrt(mean(x^2) + epsilon) * gain`
fn normalize_row(cpu: &Cpu<'_>, epsilon: f32, x: &[f32], gain: &[f32], out: &mut [f32]) {
    let mean_square = (cpu.kernels.sum_squares)(x) / x.len() as f32;
    (cpu.kernels.scale_gain)(x, 1.0 / (mean_square + epsilon).sqrt(), gain, out);
}

/// One matrix times the first `tokens` rows of the inputs, with a bias.
fn project(
    cpu: &Cpu<'_>,
    tensor: TensorRef,
    inputs: &mut Inputs,
    tokens: usize,
    staging: &mut [hardtack_kernels::PanelRows],
    bias: Option<TensorRef>,
    out: &mut [f32],
) {
    let product = Product::new(tensor, tokens);
    inputs.prepare(cpu, tokens, &[product]);
    let staging = &mut staging[..product.results()];
    cpu.multiply(&[product], &inputs.activations(), staging);
    cpu.collect(
        &product,
        staging,
        bias.map(|bias| cpu.vector(&bias)),
        &mut out[..tokens * tensor.rows as usize],
    );
}
