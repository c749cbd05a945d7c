//! The feed-forward block: dense, or the chosen experts of each token, tokens grouped by expert.

use std::ops::Range;

use hardtack_format::TensorRef;
use hardtack_format::encoding::PANEL_ROWS;
use hardtack_format::network::{BlockTensors, ExpertsTensors};
use hardtack_format::spec::{Activation, ExpertsSpec};
use hardtack_kernels::PanelRows;
use hardtack_kernels::math::sigmoid;

use super::router::{assign_slots, choose};
use super::{Step, project};
use crate::cpu::inputs::Inputs;
use crate::cpu::multiply::{COLLECT_COST, Cpu, Product};
use crate::cpu::results::{COLLECTED, Results};
use crate::cpu::rows::{Cut as _, Rows};
use crate::cpu::scratch::Scratch;

/// What one activation costs, the moves of its inputs and its quantization included, in bytes that
/// memory could deliver meanwhile.
const ACTIVATION_COST: usize = 8;
/// What adding up one number of one expert costs.
const SUM_COST: usize = 2;
/// What a pass over some experts may leave before it is collected.
const PASS_BYTES: usize = 1 << 20;
/// What looking at one expert costs for each that is chosen.
const CHOICE_COST: usize = 8;

/// One block for every token, its output left in the scratch.
pub fn dense(activation: Activation, block: &BlockTensors, step: &mut Step<'_>) {
    let (cpu, tokens) = (step.cpu, step.tokens);
    let Scratch { normed, up, activated, products, staging, block: out, .. } = &mut *step.scratch;
    let mut blocks = Blocks { cpu, activation, up, activated, products, staging };
    blocks.run_all(block, normed, tokens, out);
}

/// A mixture of experts, its output left in the scratch.
pub fn experts(
    spec: &ExpertsSpec,
    activation: Activation,
    tensors: &ExpertsTensors,
    step: &mut Step<'_>,
) {
    choose_experts(spec, tensors, step);
    run_experts(spec, activation, tensors, step);

    let (cpu, tokens, hidden) = (step.cpu, step.tokens, step.network.spec.hidden as usize);
    let chosen = spec.chosen as usize;
    let Scratch { block, choices, expert_outputs, .. } = &mut *step.scratch;
    cpu.for_each_chunk(
        &mut block[..tokens * hidden],
        hidden,
        SUM_COST * chosen * hidden,
        |token, row| {
            row.fill(0.0);
            for choice in &choices[token * chosen..(token + 1) * chosen] {
                let output = &expert_outputs[choice.slot as usize * hidden..][..hidden];
                (cpu.kernels.add_scaled)(row, choice.weight, output);
            }
        },
    );
    if let Some(shared) = &tensors.shared {
        add_shared(activation, shared, tensors, step);
    }
}

/// The gate's choices for every token, and the rows of each expert.
fn choose_experts(spec: &ExpertsSpec, tensors: &ExpertsTensors, step: &mut Step<'_>) {
    let (cpu, tokens, count, chosen) =
        (step.cpu, step.tokens, spec.count as usize, spec.chosen as usize);
    let Scratch { normed, staging, gate_logits, choices, expert_slots, slot_tokens, .. } =
        &mut *step.scratch;
    project(&cpu, tensors.router, normed, tokens, staging, tensors.router_bias, gate_logits);
    let choices = &mut choices[..tokens * chosen];
    let rows = (Rows::new(&mut gate_logits[..tokens * count], count), Rows::new(choices, chosen));
    cpu.for_rows(tokens, CHOICE_COST * count * chosen, rows, |_, (mut logits, mut choices)| {
        logits
            .iter_mut()
            .zip(choices.iter_mut())
            .for_each(|(logits, choices)| choose(spec, logits, choices));
    });
    assign_slots(
        choices,
        chosen,
        &mut expert_slots[..count + 1],
        &mut slot_tokens[..tokens * chosen],
    );
}

/// Rows of experts that are taken at once, at most: as many as leave what a pass computes in the
/// caches, but all rows of any one expert.
pub fn pass_rows(spec: &ExpertsSpec, hidden: usize, tokens: usize) -> usize {
    let (inner, chosen) = (spec.inner as usize, spec.chosen as usize);
    let cached = PASS_BYTES / (hidden.max(2 * inner) * size_of::<f32>());
    cached.max(tokens).max(chosen).min(tokens * chosen)
}

/// Runs the chosen experts on the rows of their tokens, some experts at a time; outputs stand by
/// slot.
fn run_experts(
    spec: &ExpertsSpec,
    activation: Activation,
    tensors: &ExpertsTensors,
    step: &mut Step<'_>,
) {
    let (cpu, tokens, hidden) = (step.cpu, step.tokens, step.network.spec.hidden as usize);
    let rows_max = pass_rows(spec, hidden, tokens);
    let Scratch {
        normed,
        up,
        activated,
        products,
        staging,
        gathered,
        expert_slots,
        slot_tokens,
        expert_outputs,
        ..
    } = &mut *step.scratch;
    let mut blocks = Blocks { cpu, activation, up, activated, products, staging };
    // A single token's row serves every expert as it is.
    let shared_row = tokens == 1;
    let runs = |experts: Range<usize>| {
        let first = expert_slots[experts.start];
        let slots =
            expert_slots[experts.start..=experts.end].windows(2).zip(&tensors.experts[experts]);
        slots.filter(|(slots, _)| slots[0] < slots[1]).map(move |(slots, block)| {
            let slot = (slots[0] - first) as usize;
            Run {
                block,
                input: if shared_row { 0 } else { slot },
                slot,
                tokens: (slots[1] - slots[0]) as usize,
            }
        })
    };
    let count = tensors.experts.len();
    blocks.list(runs(0..count));
    normed.prepare(&cpu, tokens, blocks.products);
    let mut first = 0;
    while first < count {
        let start = expert_slots[first] as usize;
        let further = expert_slots[first + 2..=count]
            .iter()
            .take_while(|&&end| end as usize - start <= rows_max)
            .count();
        let experts = first..first + 1 + further;
        let slots = start..expert_slots[experts.end] as usize;
        first = experts.end;
        blocks.list(runs(experts.clone()));
        let out = &mut expert_outputs[slots.start * hidden..slots.end * hidden];
        if shared_row {
            blocks.run(runs(experts), normed, slots.len(), out);
        } else {
            gathered.gather(&cpu, normed, &slot_tokens[slots.clone()], blocks.products);
            blocks.run(runs(experts), gathered, slots.len(), out);
        }
    }
}

/// Adds the shared expert, behind its sigmoid gate if it has one (Qwen2-MoE).
fn add_shared(
    activation: Activation,
    shared: &BlockTensors,
    tensors: &ExpertsTensors,
    step: &mut Step<'_>,
) {
    let (cpu, tokens, hidden) = (step.cpu, step.tokens, step.network.spec.hidden as usize);
    let Scratch { normed, up, activated, products, staging, block, expert_outputs, .. } =
        &mut *step.scratch;
    let mut blocks = Blocks { cpu, activation, up, activated, products, staging };
    blocks.run_all(shared, normed, tokens, expert_outputs);
    let gate = tensors.shared_gate.map(|gate| cpu.vector(&gate));
    cpu.for_each_chunk(
        &mut block[..tokens * hidden],
        hidden,
        2 * SUM_COST * hidden,
        |token, row| {
            let weight =
                gate.map_or(1.0, |gate| sigmoid((cpu.kernels.dot)(normed.row(token), gate)));
            (cpu.kernels.add_scaled)(row, weight, &expert_outputs[token * hidden..][..hidden]);
        },
    );
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

impl Run<'_> {
    /// A matrix times as many rows of its inputs, from `first_token` on.
    const fn product(&self, tensor: TensorRef, first_token: usize) -> Product {
        Product { tensor, stack: 0, first_token: first_token as u32, tokens: self.tokens as u32 }
    }
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
    /// One block for the first `tokens` rows of the inputs.
    fn run_all(
        &mut self,
        block: &BlockTensors,
        inputs: &mut Inputs,
        tokens: usize,
        out: &mut [f32],
    ) {
        let every_token = std::iter::once(Run { block, input: 0, slot: 0, tokens });
        self.list(every_token.clone());
        inputs.prepare(&self.cpu, tokens, self.products);
        self.run(every_token, inputs, tokens, out);
    }

    /// Lists the products with the inputs: each run's gate and up projections.
    fn list<'b>(&mut self, runs: impl Iterator<Item = Run<'b>>) {
        self.products.clear();
        for run in runs {
            self.products.push(run.product(run.block.gated, run.input));
            self.products.push(run.product(run.block.up, run.input));
        }
    }

    /// `out[slot] = down(activation(gated(input), up(input)))` for the rows of every run. Slots are
    /// consecutive over the runs and `rows` of them in all; the runs are listed and the inputs
    /// prepared.
    fn run<'b>(
        &mut self,
        runs: impl Iterator<Item = Run<'b>> + Clone + Sync,
        inputs: &Inputs,
        rows: usize,
        out: &mut [f32],
    ) {
        let Some(first) = self.products.first() else { return };
        let inner = first.tensor.rows as usize;
        let staging = multiply(&self.cpu, self.products, inputs, self.staging);
        self.products.clear();
        self.products.extend(runs.clone().map(|run| run.product(run.block.down, run.slot)));
        let quantize = self.products.iter().any(Product::reads_codes);

        let (cpu, activation) = (self.cpu, self.activation);
        self.activated.rows(rows, inner);
        let buffers = (self.activated.parts(rows), Rows::new(&mut self.up[..rows * inner], inner));
        cpu.for_rows(rows, ACTIVATION_COST * inner, buffers, |range, mut buffers| {
            for place in Place::all(runs.clone(), 2 * inner.div_ceil(PANEL_ROWS), range) {
                let ((mut activated, mut up), others) = buffers.cut(place.tokens.len());
                buffers = others;
                let (gated_results, up_results) =
                    staging[place.results.clone()].split_at(place.results.len() / 2);
                let block = place.run.block;
                place.collect(
                    &cpu,
                    gated_results,
                    block.gated_bias.as_ref(),
                    inner,
                    activated.floats(),
                );
                place.collect(&cpu, up_results, block.up_bias.as_ref(), inner, up.elements());
                for (row, up) in activated.iter_mut().zip(up.iter_mut()) {
                    activate(&cpu, activation, row.floats, up);
                }
                if quantize {
                    activated.quantize(cpu.kernels);
                }
            }
        });

        let staging = multiply(&cpu, self.products, self.activated, self.staging);
        let hidden = self.products[0].tensor.rows as usize;
        let out = Rows::new(&mut out[..rows * hidden], hidden);
        cpu.for_rows(rows, COLLECT_COST * hidden, out, |range, mut out| {
            for place in Place::all(runs.clone(), hidden.div_ceil(PANEL_ROWS), range) {
                let (mut own, others) = out.cut(place.tokens.len());
                out = others;
                let bias = place.run.block.down_bias.as_ref();
                place.collect(&cpu, &staging[place.results.clone()], bias, hidden, own.elements());
            }
        });
    }
}

/// All products, their results in the first part of `staging`.
fn multiply<'s>(
    cpu: &Cpu<'_>,
    products: &[Product],
    inputs: &Inputs,
    staging: &'s mut [PanelRows],
) -> &'s [PanelRows] {
    let results = products.iter().map(Product::results).sum();
    let staging = &mut staging[..results];
    cpu.multiply(products, &inputs.activations(), staging);
    staging
}

/// Where the results of a few consecutive rows stand.
struct Place<'a> {
    run: Run<'a>,
    /// Which of the run's tokens.
    tokens: Range<usize>,
    /// The results of the run's products.
    results: Range<usize>,
}

impl<'a> Place<'a> {
    /// Those of a range of rows, where every token of every run has `panels` results.
    fn all(
        runs: impl Iterator<Item = Run<'a>>,
        panels: usize,
        rows: Range<usize>,
    ) -> impl Iterator<Item = Self> {
        runs.flat_map(move |run| {
            let (first, end) = (rows.start.max(run.slot), rows.end.min(run.slot + run.tokens));
            let results = run.slot * panels..(run.slot + run.tokens) * panels;
            (first..end).step_by(COLLECTED).map(move |row| {
                let tokens = row - run.slot..(row + COLLECTED).min(end) - run.slot;
                Place { run, tokens, results: results.clone() }
            })
        })
    }

    fn collect(
        &self,
        cpu: &Cpu<'_>,
        panels: &[PanelRows],
        bias: Option<&TensorRef>,
        width: usize,
        out: &mut [f32],
    ) {
        let results =
            Results { panels, tokens: self.run.tokens, bias: bias.map(|bias| cpu.vector(bias)) };
        results.collect(self.tokens.start, width, out);
    }
}

fn activate(cpu: &Cpu<'_>, activation: Activation, gated: &mut [f32], up: &[f32]) {
    match activation {
        Activation::Silu => (cpu.kernels.silu_multiply)(gated, up),
        Activation::ClampedSwiglu { alpha, limit } => {
            (cpu.kernels.clamped_swiglu)(gated, up, alpha, limit)
        }
    }
}
