//! What all blocks share: the residual stream of a batch, RoPE's turns, and products' results.

use hardtack_format::TensorRef;
use hardtack_format::encoding::PANEL_ROWS;
use hardtack_kernels::PanelRows;
use hardtack_kernels::pack::unpack_row;

use super::batch::{Batch, ROW_COST};
use super::rope::Turns;
use crate::cpu::buffer::{Buffer, buffers};
use crate::cpu::inputs::Inputs;
use crate::cpu::multiply::{Cpu, Product, Workspace};

buffers! {
    /// What all blocks share.
    pub struct Shared {
        /// `[batch, hidden]`: the residual stream.
        pub residual: Buffer<f32>,
        /// `[batch, hidden]`: the stream normalized, which a block reads.
        pub normed: Inputs,
        /// `[batch, hidden]`: what the block adds to the stream.
        pub block: Buffer<f32>,
        /// RoPE's turns for the positions of the batch.
        pub turns: Turns,
        /// Products and their results.
        pub work: Workspace,
    }
}

impl Shared {
    /// Has room for a batch's stream.
    pub fn need(&mut self, batch: usize, hidden: usize) {
        self.residual.need(batch * hidden);
        self.normed.need(batch, hidden);
        self.block.need(batch * hidden);
        self.work.need(0, batch * hidden.div_ceil(PANEL_ROWS));
    }

    /// The stream begins as the tokens' rows of the embedding.
    pub fn embed(&mut self, batch: &Batch<'_>, tokens: &[u32]) {
        let (table, spec) = (&batch.network.embedding, &batch.network.spec);
        let panel_bytes = table.encoding.panel_bytes(table.columns) as usize;
        let rows = self.residual.chunks_exact_mut(spec.hidden as usize);
        for (&token, row) in tokens.iter().zip(rows) {
            let start = table.offset as usize + token as usize / PANEL_ROWS * panel_bytes;
            let panel = &batch.cpu.file[start..start + panel_bytes];
            unpack_row(table.encoding, panel, token as usize % PANEL_ROWS, row);
            if spec.embedding_scale != 1.0 {
                row.iter_mut().for_each(|value| *value *= spec.embedding_scale);
            }
        }
    }

    /// RMS normalization of the stream (arXiv 1910.07467, equation 4) into the inputs of the next
    /// matrices.
    pub fn normalize(&mut self, batch: &Batch<'_>, gain: &TensorRef) {
        let hidden = batch.network.spec.hidden as usize;
        let (cpu, epsilon) = (batch.cpu, batch.network.spec.norm_epsilon);
        let (gain, residual) = (cpu.vector(gain), &*self.residual);
        let normed = self.normed.rows(batch.tokens, hidden);
        cpu.for_each_chunk(normed, hidden, ROW_COST * hidden, |token, row| {
            normalize_row(&cpu, epsilon, &residual[token * hidden..][..hidden], gain, row);
        });
    }

    /// The last hidden state `[hidden]` of one token of the batch, after the final norm.
    pub fn hidden(&mut self, batch: &Batch<'_>, token: usize) -> &[f32] {
        let (cpu, network) = (batch.cpu, batch.network);
        let (epsilon, hidden) = (network.spec.norm_epsilon, network.spec.hidden as usize);
        let row = &self.residual[token * hidden..][..hidden];
        let out = &mut self.block[..hidden];
        normalize_row(&cpu, epsilon, row, cpu.vector(&network.final_norm), out);
        out
    }

    /// The logits `[vocabulary]` that follow one token of the batch.
    pub fn head(&mut self, batch: &Batch<'_>, token: usize, logits: &mut [f32]) {
        let (cpu, network) = (batch.cpu, batch.network);
        let (epsilon, hidden) = (network.spec.norm_epsilon, network.spec.hidden as usize);
        let Self { residual, normed, work, .. } = self;
        let (row, gain) = (&residual[token * hidden..][..hidden], cpu.vector(&network.final_norm));
        normalize_row(&cpu, epsilon, row, gain, normed.rows(1, hidden));
        project(&cpu, network.head, normed, 1, &mut work.staging, None, logits);
        if network.spec.logit_scale != 1.0 {
            logits.iter_mut().for_each(|logit| *logit *= network.spec.logit_scale);
        }
    }

    /// Adds the block's output to the stream.
    pub fn add_block(&mut self, batch: &Batch<'_>) {
        let spec = &batch.network.spec;
        let (cpu, hidden, scale) = (batch.cpu, spec.hidden as usize, spec.residual_scale);
        let block = &*self.block;
        let stream = &mut self.residual[..batch.tokens * hidden];
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

/// RMS normalization of a vector over itself.
pub fn normalize_in_place(epsilon: f32, gain: &[f32], x: &mut [f32]) {
    let mean_square = x.iter().map(|value| value * value).sum::<f32>() / x.len() as f32;
    let scale = 1.0 / (mean_square + epsilon).sqrt();
    x.iter_mut().zip(gain).for_each(|(value, gain)| *value = *value * scale * gain);
}

/// One matrix times the first `tokens` rows of the inputs, with a bias.
pub fn project(
    cpu: &Cpu<'_>,
    tensor: TensorRef,
    inputs: &mut Inputs,
    tokens: usize,
    staging: &mut [PanelRows],
    bias: Option<TensorRef>,
    out: &mut [f32],
) {
    let product = Product::new(tensor, tokens);
    inputs.prepare(cpu, tokens, &[product]);
    let results = cpu.multiply(&[product], &inputs.activations(), staging);
    let out = &mut out[..tokens * tensor.rows as usize];
    cpu.collect(&product, results, bias.map(|bias| cpu.vector(&bias)), out);
}
