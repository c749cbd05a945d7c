//! The feed-forward block: dense, or the chosen experts of each token, tokens grouped by expert.

use std::ops::Range;

use hardtack_format::TensorRef;
use hardtack_format::encoding::PANEL_ROWS;
use hardtack_format::network::{BlockTensors, ExpertsTensors};
use hardtack_format::spec::{Activation, ExpertsSpec};
use hardtack_kernels::PanelRows;
use hardtack_kernels::math::sigmoid;

use super::batch::Batch;
use super::router::{Choice, assign_slots, choose};
use super::shared::{Shared, project};
use crate::cpu::buffer::{Buffer, buffers};
use crate::cpu::inputs::Inputs;
use crate::cpu::multiply::{COLLECT_COST, Cpu, Product, Workspace};
use crate::cpu::results::{COLLECTED, Results};
use crate::cpu::rows::{Cut as _, Rows};

/// What one activation costs, the moves of its inputs and its quantization included, in bytes that
/// memory could deliver meanwhile.
const ACTIVATION_COST: usize = 8;
/// What adding up one number of one expert costs.
const SUM_COST: usize = 2;
/// What a run over some experts may leave before it is collected.
const RUN_BYTES: usize = 1 << 20;
/// What looking at one expert costs for each that is chosen.
const CHOICE_COST: usize = 8;

buffers! {
    /// What blocks and mixtures of them work with.
    pub struct Scratch {
        /// `[rows, inner]`
        up: Buffer<f32>,
        /// `[rows, inner]`: gate projections, then inputs of the down projections.
        activated: Inputs,
        /// `[batch, experts]`
        router_logits: Buffer<f32>,
        /// `[batch, chosen]`
        choices: Buffer<Choice>,
        /// `[experts + 1]`: first slot of each expert.
        expert_slots: Buffer<u32>,
        /// `[batch * chosen]`: whose inputs are where, by slot.
        slot_tokens: Buffer<u32>,
        /// `[rows, hidden]`: inputs by expert, of the rows that are taken at once.
        gathered: Inputs,
        /// `[batch * chosen, hidden]`: the experts' outputs by slot.
        expert_outputs: Buffer<f32>,
    }
}

impl Scratch {
    /// Has room for a dense block.
    pub fn need_dense(&mut self, inner: u32, batch: usize, work: &mut Workspace) {
        self.need_block(batch, inner as usize, 2, work);
    }

    /// Has room for a mixture.
    pub fn need_experts(
        &mut self,
        spec: &ExpertsSpec,
        hidden: usize,
        batch: usize,
        work: &mut Workspace,
    ) {
        let (count, slots) = (spec.count as usize, batch * spec.chosen as usize);
        let (rows, distinct) = (rows_at_once(spec, hidden, batch), count.min(slots));
        self.router_logits.need(batch * count);
        self.choices.need(slots);
        self.expert_slots.need(count + 1);
        self.slot_tokens.need(slots);
        self.gathered.need(rows, hidden);
        self.expert_outputs.need(slots * hidden);
        work.need(1, batch * count.div_ceil(PANEL_ROWS));
        work.need(distinct, rows * hidden.div_ceil(PANEL_ROWS));
        self.need_block(rows, spec.inner as usize, 2 * distinct, work);
        self.need_block(batch, spec.shared_inner as usize, 2, work);
    }

    fn need_block(&mut self, rows: usize, inner: usize, products: usize, work: &mut Workspace) {
        self.up.need(rows * inner);
        self.activated.need(rows, inner);
        work.need(products, 2 * rows * inner.div_ceil(PANEL_ROWS));
    }
}

/// One block for every token, its output left in what is shared.
pub fn dense(
    batch: &Batch<'_>,
    activation: Activation,
    block: &BlockTensors,
    shared: &mut Shared,
    scratch: &mut Scratch,
) {
    let Shared { normed, work, block: out, .. } = shared;
    let Scratch { up, activated, .. } = scratch;
    let mut blocks = Blocks { cpu: batch.cpu, activation, up, activated, work };
    blocks.run_all(block, normed, batch.tokens, out);
}

/// A mixture of experts, its output left in what is shared: the chosen experts on the rows of their
/// tokens, some experts at a time.
pub fn experts(
    batch: &Batch<'_>,
    spec: &ExpertsSpec,
    activation: Activation,
    tensors: &ExpertsTensors,
    shared: &mut Shared,
    scratch: &mut Scratch,
) {
    choose_experts(batch, spec, tensors, shared, scratch);

    let (cpu, tokens, hidden) = (batch.cpu, batch.tokens, batch.network.spec.hidden as usize);
    let rows_max = rows_at_once(spec, hidden, tokens);
    let Scratch { up, activated, gathered, expert_slots, slot_tokens, expert_outputs, .. } =
        &mut *scratch;
    let Shared { normed, work, .. } = &mut *shared;
    let mut blocks = Blocks { cpu, activation, up, activated, work };
    // A single token's row serves every expert as it is.
    let shared_row = tokens == 1;
    let runs = |experts: Range<usize>| {
        let first = expert_slots[experts.start];
        let slots =
            expert_slots[experts.start..=experts.end].windows(2).zip(&tensors.experts[experts]);
        slots.filter(|(slots, _)| slots[0] < slots[1]).map(move |(slots, block)| {
            let slot = (slots[0] - first) as usize;
            let input = if shared_row { 0 } else { slot };
            Run { block, input, slot, tokens: (slots[1] - slots[0]) as usize }
        })
    };
    let count = tensors.experts.len();
    blocks.list(runs(0..count));
    normed.prepare(&cpu, tokens, &blocks.work.list);
    let mut first = 0;
    while first < count {
        let start = expert_slots[first] as usize;
        let fits = |&&end: &&u32| end as usize - start <= rows_max;
        let further = expert_slots[first + 2..=count].iter().take_while(fits).count();
        let experts = first..first + 1 + further;
        let slots = start..expert_slots[experts.end] as usize;
        first = experts.end;
        blocks.list(runs(experts.clone()));
        let out = &mut expert_outputs[slots.start * hidden..slots.end * hidden];
        if shared_row {
            blocks.run(runs(experts), normed, slots.len(), out);
        } else {
            gathered.gather(&cpu, normed, &slot_tokens[slots.clone()], &blocks.work.list);
            blocks.run(runs(experts), gathered, slots.len(), out);
        }
    }
    add_chosen(batch, spec, shared, scratch);
    if let Some(block) = &tensors.shared {
        add_shared(batch, activation, block, tensors, shared, scratch);
    }
}

/// The router's choices for every token, and the rows of each expert.
fn choose_experts(
    batch: &Batch<'_>,
    spec: &ExpertsSpec,
    tensors: &ExpertsTensors,
    shared: &mut Shared,
    scratch: &mut Scratch,
) {
    let (cpu, tokens, count) = (batch.cpu, batch.tokens, spec.count as usize);
    let chosen = spec.chosen as usize;
    let Shared { normed, work, .. } = shared;
    let Scratch { router_logits: logits, choices, expert_slots, slot_tokens, .. } = scratch;
    project(&cpu, tensors.gate, normed, tokens, &mut work.staging, tensors.gate_bias, logits);
    let choices = &mut choices[..tokens * chosen];
    let rows = (Rows::new(&mut logits[..tokens * count], count), Rows::new(choices, chosen));
    cpu.for_rows(tokens, CHOICE_COST * count * chosen, rows, |_, (mut logits, mut choices)| {
        let rows = logits.iter_mut().zip(choices.iter_mut());
        rows.for_each(|(logits, choices)| choose(spec, logits, choices));
    });
    let slot_tokens = &mut slot_tokens[..tokens * chosen];
    assign_slots(choices, chosen, &mut expert_slots[..count + 1], slot_tokens);
}

/// Rows of experts that are taken at once, at most: as many as leave what a run computes in the
/// caches, but all rows of any one expert.
fn rows_at_once(spec: &ExpertsSpec, hidden: usize, tokens: usize) -> usize {
    let (inner, chosen) = (spec.inner as usize, spec.chosen as usize);
    let cached = RUN_BYTES / (hidden.max(2 * inner) * size_of::<f32>());
    cached.max(tokens).max(chosen).min(tokens * chosen)
}

/// Sums up the outputs of each token's experts by their weights.
fn add_chosen(batch: &Batch<'_>, spec: &ExpertsSpec, shared: &mut Shared, scratch: &Scratch) {
    let (cpu, tokens, hidden) = (batch.cpu, batch.tokens, batch.network.spec.hidden as usize);
    let chosen = spec.chosen as usize;
    let (choices, outputs) = (&*scratch.choices, &*scratch.expert_outputs);
    let block = &mut shared.block[..tokens * hidden];
    cpu.for_each_chunk(block, hidden, SUM_COST * chosen * hidden, |token, row| {
        row.fill(0.0);
        for choice in &choices[token * chosen..(token + 1) * chosen] {
            let output = &outputs[choice.slot as usize * hidden..][..hidden];
            (cpu.kernels.add_scaled)(row, choice.weight, output);
        }
    });
}

/// Adds the shared expert, times its sigmoid gate if it has one (Qwen2-MoE).
fn add_shared(
    batch: &Batch<'_>,
    activation: Activation,
    expert: &BlockTensors,
    tensors: &ExpertsTensors,
    shared: &mut Shared,
    scratch: &mut Scratch,
) {
    let (cpu, tokens, hidden) = (batch.cpu, batch.tokens, batch.network.spec.hidden as usize);
    let Shared { normed, work, block, .. } = shared;
    let Scratch { up, activated, expert_outputs, .. } = scratch;
    let mut blocks = Blocks { cpu, activation, up, activated, work };
    blocks.run_all(expert, normed, tokens, expert_outputs);
    let gate = tensors.shared_gate.map(|gate| cpu.vector(&gate));
    let (normed, outputs) = (&*normed, &**expert_outputs);
    let block = &mut block[..tokens * hidden];
    cpu.for_each_chunk(block, hidden, 2 * SUM_COST * hidden, |token, row| {
        let weight = gate.map_or(1.0, |gate| sigmoid((cpu.kernels.dot)(normed.row(token), gate)));
        (cpu.kernels.add_scaled)(row, weight, &outputs[token * hidden..][..hidden]);
    });
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
    work: &'a mut Workspace,
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
        inputs.prepare(&self.cpu, tokens, &self.work.list);
        self.run(every_token, inputs, tokens, out);
    }

    /// Lists the products with the inputs: each run's gate and up projections.
    fn list<'b>(&mut self, runs: impl Iterator<Item = Run<'b>>) {
        self.work.list.clear();
        for run in runs {
            self.work.list.push(run.product(run.block.gated, run.input));
            self.work.list.push(run.product(run.block.up, run.input));
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
        let Workspace { list, staging } = &mut *self.work;
        let Some(first) = list.first() else { return };
        let inner = first.tensor.rows as usize;
        let results = self.cpu.multiply(list, &inputs.activations(), staging);
        list.clear();
        list.extend(runs.clone().map(|run| run.product(run.block.down, run.slot)));
        let quantize = list.iter().any(Product::reads_codes);

        let (cpu, activation) = (self.cpu, self.activation);
        self.activated.rows(rows, inner);
        let buffers = (self.activated.parts(rows), Rows::new(&mut self.up[..rows * inner], inner));
        cpu.for_rows(rows, ACTIVATION_COST * inner, buffers, |range, mut buffers| {
            for place in Place::all(runs.clone(), 2 * inner.div_ceil(PANEL_ROWS), range) {
                let ((mut activated, mut up), others) = buffers.cut(place.tokens.len());
                buffers = others;
                let (gated_results, up_results) =
                    results[place.results.clone()].split_at(place.results.len() / 2);
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

        let results = cpu.multiply(list, &self.activated.activations(), staging);
        let hidden = list[0].tensor.rows as usize;
        let out = Rows::new(&mut out[..rows * hidden], hidden);
        cpu.for_rows(rows, COLLECT_COST * hidden, out, |range, mut out| {
            for place in Place::all(runs.clone(), hidden.div_ceil(PANEL_ROWS), range) {
                let (mut own, others) = out.cut(place.tokens.len());
                out = others;
                let bias = place.run.block.down_bias.as_ref();
                place.collect(&cpu, &results[place.results.clone()], bias, hidden, own.elements());
            }
        });
    }
}

/// Where the results of a few consecutive rows are.
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
