//! The feed-forward block: dense, or the chosen experts of each token, tokens grouped by expert.

use hardtack_format::network::{BlockTensors, ExpertsTensors};
use hardtack_format::spec::{Activation, ExpertsSpec};
use hardtack_kernels::PanelRows;
use hardtack_kernels::math::sigmoid;

use super::gate::{assign_slots, choose};
use super::{Step, project};
use crate::backend::cpu::{Cpu, Product, collect};
use crate::backend::inputs::Inputs;
use crate::scratch::Scratch;

/// What one activation costs, in bytes that memory could deliver meanwhile.
const ACTIVATION_COST: usize = 6;

/// One block for every token, its output left in the scratch.
pub fn dense(activation: Activation, block: &BlockTensors, step: &mut Step<'_>) {
    let (cpu, tokens) = (step.cpu, step.tokens);
    let Scratch { normed, up, activated, products, staging, block: out, .. } = &mut *step.scratch;
    let every_token = std::iter::once(Run { block, input: 0, slot: 0, tokens });
    Blocks { cpu, activation, up, activated, products, staging }.run(every_token, normed, tokens, tokens, out);
}

/// A mixture of experts, its output left in the scratch.
pub fn experts(spec: &ExpertsSpec, activation: Activation, tensors: &ExpertsTensors, step: &mut Step<'_>) {
    choose_experts(spec, tensors, step);
    run_experts(spec, activation, tensors, step);

    let (cpu, tokens, hidden) = (step.cpu, step.tokens, step.network.spec.hidden as usize);
    let Scratch { block, choices, expert_outputs, .. } = &mut *step.scratch;
    let block = &mut block[..tokens * hidden];
    block.fill(0.0);
    for (row, choices) in block.chunks_exact_mut(hidden).zip(choices.chunks_exact(spec.chosen as usize)) {
        for choice in choices {
            let output = &expert_outputs[choice.slot as usize * hidden..][..hidden];
            (cpu.kernels.add_scaled)(row, choice.weight, output);
        }
    }
    if let Some(shared) = &tensors.shared {
        add_shared(activation, shared, tensors, step);
    }
}

/// The gate's choices for every token, and the rows of each expert.
fn choose_experts(spec: &ExpertsSpec, tensors: &ExpertsTensors, step: &mut Step<'_>) {
    let (cpu, tokens, chosen) = (step.cpu, step.tokens, spec.chosen as usize);
    let Scratch { normed, staging, gate_logits, choices, expert_slots, .. } = &mut *step.scratch;
    project(&cpu, tensors.gate, normed, tokens, staging, tensors.gate_bias, gate_logits);
    let choices = &mut choices[..tokens * chosen];
    for (logits, choices) in gate_logits.chunks_exact_mut(spec.count as usize).zip(choices.chunks_exact_mut(chosen)) {
        choose(spec, logits, choices);
    }
    assign_slots(choices, &mut expert_slots[..spec.count as usize + 1]);
}

/// Runs the chosen experts on the rows of their tokens; outputs stand by slot.
fn run_experts(spec: &ExpertsSpec, activation: Activation, tensors: &ExpertsTensors, step: &mut Step<'_>) {
    let (cpu, tokens, chosen) = (step.cpu, step.tokens, spec.chosen as usize);
    let hidden = step.network.spec.hidden as usize;
    let Scratch { normed, up, activated, products, staging, gathered, choices, expert_slots, expert_outputs, .. } =
        &mut *step.scratch;
    let rows = tokens * chosen;
    let runs = expert_slots.windows(2).zip(&tensors.experts).filter(|(slots, _)| slots[0] < slots[1]);
    let runs = runs.map(|(slots, block)| {
        let (slot, end) = (slots[0] as usize, slots[1] as usize);
        // A single token's row serves every expert as it is.
        Run { block, input: if tokens == 1 { 0 } else { slot }, slot, tokens: end - slot }
    });
    let mut blocks = Blocks { cpu, activation, up, activated, products, staging };
    if tokens == 1 {
        return blocks.run(runs, normed, 1, rows, expert_outputs);
    }
    let by_expert = gathered.rows(rows, hidden);
    for (index, choice) in choices[..rows].iter().enumerate() {
        by_expert[choice.slot as usize * hidden..][..hidden].copy_from_slice(normed.row(index / chosen));
    }
    blocks.run(runs, gathered, rows, rows, expert_outputs);
}

/// Adds the shared expert, behind its sigmoid gate if it has one (Qwen2-MoE).
fn add_shared(activation: Activation, shared: &BlockTensors, tensors: &ExpertsTensors, step: &mut Step<'_>) {
    let (cpu, tokens, hidden) = (step.cpu, step.tokens, step.network.spec.hidden as usize);
    let Scratch { normed, up, activated, products, staging, block, expert_outputs, .. } = &mut *step.scratch;
    let every_token = std::iter::once(Run { block: shared, input: 0, slot: 0, tokens });
    Blocks { cpu, activation, up, activated, products, staging }.run(
        every_token,
        normed,
        tokens,
        tokens,
        expert_outputs,
    );
    for token in 0..tokens {
        let weight = match &tensors.shared_gate {
            None => 1.0,
            Some(gate) => sigmoid((cpu.kernels.dot)(normed.row(token), cpu.vector(gate))),
        };
        let span = token * hidden..(token + 1) * hidden;
        (cpu.kernels.add_scaled)(&mut block[span.clone()], weight, &expert_outputs[span]);
    }
}

/// One block over consecutive rows.
#[derive(Clone, Copy)]
struct Run<'a> {
    block: &'a BlockTensors,
    /// First row of the inputs.
    input: usize,
    /// First row of the outputs.
    slot: usize,
    tokens: usize,
}

/// Gated blocks of equal shape, all of them at once.
struct Blocks<'a> {
    cpu: Cpu<'a>,
    activation: Activation,
    up: &'a mut [f32],
    activated: &'a mut Inputs,
    products: &'a mut Vec<Product>,
    staging: &'a mut [PanelRows],
}

impl Blocks<'_> {
    /// `out[slot] = down(activation(gated(input), up(input)))` for the rows of every run. Slots are consecutive over the
    /// runs and `rows` of them in all; `input_rows` rows of the inputs are used.
    fn run<'b>(
        &mut self,
        runs: impl Iterator<Item = Run<'b>> + Clone,
        inputs: &mut Inputs,
        input_rows: usize,
        rows: usize,
        out: &mut [f32],
    ) {
        let product = |tensor, row: usize, tokens: usize| Product {
            tensor,
            stack: 0,
            first_token: row as u32,
            tokens: tokens as u32,
        };
        let Some(inner) = runs.clone().next().map(|run| run.block.gated.rows as usize) else { return };
        self.products.clear();
        for run in runs.clone() {
            self.products.push(product(run.block.gated, run.input, run.tokens));
            self.products.push(product(run.block.up, run.input, run.tokens));
        }
        inputs.prepare(self.cpu.kernels, input_rows, self.products);
        let results = self.products.iter().map(Product::results).sum();
        self.cpu.multiply(self.products, &inputs.activations(), &mut self.staging[..results]);
        let mut staging = &self.staging[..results];
        let gated = self.activated.rows(rows, inner);
        for (run, pair) in runs.clone().zip(self.products.chunks_exact(2)) {
            let span = run.slot * inner..(run.slot + run.tokens) * inner;
            let biases = [run.block.gated_bias, run.block.up_bias];
            for ((product, out), bias) in pair.iter().zip([&mut *gated, &mut *self.up]).zip(biases) {
                let (own, rest) = staging.split_at(product.results());
                collect(product, own, bias.map(|bias| self.cpu.vector(&bias)), &mut out[span.clone()]);
                staging = rest;
            }
        }
        let (cpu, activation, up) = (self.cpu, self.activation, &*self.up);
        cpu.for_each_chunk(gated, inner, ACTIVATION_COST * inner, |row, gated| {
            activate(&cpu, activation, gated, &up[row * inner..][..inner]);
        });

        self.products.clear();
        self.products.extend(runs.clone().map(|run| product(run.block.down, run.slot, run.tokens)));
        self.activated.prepare(self.cpu.kernels, rows, self.products);
        let results = self.products.iter().map(Product::results).sum();
        self.cpu.multiply(self.products, &self.activated.activations(), &mut self.staging[..results]);
        let mut staging = &self.staging[..results];
        for (run, product) in runs.zip(&*self.products) {
            let hidden = product.tensor.rows as usize;
            let (own, rest) = staging.split_at(product.results());
            let bias = run.block.down_bias.map(|bias| self.cpu.vector(&bias));
            collect(product, own, bias, &mut out[run.slot * hidden..(run.slot + run.tokens) * hidden]);
            staging = rest;
        }
    }
}

fn activate(cpu: &Cpu<'_>, activation: Activation, gated: &mut [f32], up: &[f32]) {
    match activation {
        Activation::Silu => (cpu.kernels.silu_multiply)(gated, up),
        Activation::ClampedSwiglu { alpha, limit } => (cpu.kernels.clamped_swiglu)(gated, up, alpha, limit),
    }
}
