//! The working buffers of a session: their sizes from the spec alone, allocated once.

use hardtack_format::encoding::PANEL_ROWS;
use hardtack_format::spec::{
    AttentionKind, AttentionSpec, ExpertsSpec, FeedForwardKind, ModelSpec,
};
use hardtack_kernels::PanelRows;

use crate::cache::ring::Ring;
use crate::cache::shape::{CHUNK, RingShape};
use crate::cpu::forward::attend::staged;
use crate::cpu::forward::exact;
use crate::cpu::forward::feed_forward::pass_rows;
use crate::cpu::forward::ring;
use crate::cpu::inputs::{Inputs, InputsSize};
use crate::cpu::multiply::Product;
use crate::error::Error;
use crate::memory::{list, zeros};

/// One chosen expert of one token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Choice {
    /// The expert.
    pub expert: u32,
    /// What its output is multiplied by.
    pub weight: f32,
    /// Its row in the gathered inputs.
    pub slot: u32,
}

/// Sine and cosine of the angle by which RoPE turns one pair.
pub type Turn = [f32; 2];

/// How many elements each buffer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScratchSizes {
    /// Tokens that are processed at once.
    pub batch: usize,
    vocabulary: usize,
    residual: usize,
    query: usize,
    first: usize,
    second: usize,
    head_outputs: usize,
    gate_logits: usize,
    choices: usize,
    expert_slots: usize,
    inner: usize,
    expert_outputs: usize,
    products: usize,
    staging: usize,
    turns: usize,
    turn_back: usize,
    query_moved: usize,
    staged: usize,
    sealing: usize,
    normed: InputsSize,
    query_low: InputsSize,
    attended: InputsSize,
    head_inputs: InputsSize,
    gathered: InputsSize,
    activated: InputsSize,
}

impl ScratchSizes {
    /// What a network needs for `batch` tokens at once, over an exact cache.
    pub fn of(spec: &ModelSpec, batch: usize) -> Self {
        let hidden = spec.hidden as usize;
        let mut sizes = Self {
            batch,
            vocabulary: spec.vocabulary as usize,
            residual: batch * hidden,
            normed: InputsSize::new(batch, hidden),
            staging: panels(spec.vocabulary as usize).max(batch * panels(hidden)),
            ..Self::default()
        };
        for layer in &spec.layers {
            sizes.add_attention(&layer.attention);
            match layer.feed_forward.kind {
                FeedForwardKind::Dense { inner } => sizes.add_block(batch, inner as usize, 2),
                FeedForwardKind::Experts(experts) => sizes.add_experts(&experts, hidden),
            }
        }
        sizes
    }

    /// What a ring needs besides.
    pub fn with_ring(mut self, layers: &[AttentionSpec]) -> Self {
        self.query_moved = self.query;
        self.turn_back = layers.iter().map(|layer| layer.rope_dim as usize / 2).max().unwrap_or(0);
        self.sealing = Ring::codes_max(layers);
        let tokens = self.batch.min(CHUNK);
        for layer in layers {
            let shape = RingShape::of(layer);
            let group = layer.heads as usize / shape.heads;
            self.staged = self.staged.max(staged(
                shape.heads,
                tokens,
                group,
                ring::QUERIES,
                ring::staged_width(&shape),
            ));
        }
        self
    }

    fn add_attention(&mut self, attention: &AttentionSpec) {
        self.turns = self.turns.max(self.batch * attention.rope_dim as usize / 2);
        let (batch, heads) = (self.batch, attention.heads as usize);
        let query = heads * attention.query_dim() as usize;
        let (first, second) = attention.cached();
        let (first, second) = (first as usize, second as usize);
        self.query = self.query.max(batch * query);
        let shape = RingShape::of(attention);
        let group = heads / shape.heads;
        self.staged = self.staged.max(staged(
            shape.heads,
            batch,
            group,
            exact::QUERIES,
            exact::value_width(&shape),
        ));
        match attention.kind {
            AttentionKind::Grouped { .. } => {
                self.add_products(3, batch * (panels(query) + panels(first) + panels(second)));
                self.first = self.first.max(batch * first);
                self.second = self.second.max(batch * second);
                self.attended = self.attended.max(InputsSize::new(batch, query));
            }
            AttentionKind::Latent { query_rank, kv_rank, nope_dim, value_dim } => {
                let (low, rank) = (query_rank as usize, kv_rank as usize);
                let (nope, value) = (nope_dim as usize, value_dim as usize);
                self.add_products(2, batch * (panels(low.max(query)) + panels(first + second)));
                self.add_products(heads, batch * heads * panels(rank.max(value)));
                self.first = self.first.max(batch * (first + second));
                self.query_low = self.query_low.max(InputsSize::new(batch, low));
                self.attended = self.attended.max(InputsSize::new(batch, heads * value));
                let per_head =
                    InputsSize::new(batch * heads, nope).max(InputsSize::new(batch * heads, rank));
                self.head_inputs = self.head_inputs.max(per_head);
                self.head_outputs = self.head_outputs.max(batch * heads * rank.max(value));
            }
        }
    }

    fn add_experts(&mut self, experts: &ExpertsSpec, hidden: usize) {
        let (count, slots) = (experts.count as usize, self.batch * experts.chosen as usize);
        self.gate_logits = self.gate_logits.max(self.batch * count);
        self.add_products(1, self.batch * panels(count));
        self.choices = self.choices.max(slots);
        self.expert_slots = self.expert_slots.max(count + 1);
        self.expert_outputs = self.expert_outputs.max(slots * hidden);
        let (rows, distinct) = (pass_rows(experts, hidden, self.batch), count.min(slots));
        self.gathered = self.gathered.max(InputsSize::new(rows, hidden));
        self.add_block(rows, experts.inner as usize, 2 * distinct);
        self.add_products(distinct, rows * panels(hidden));
        self.add_block(self.batch, experts.shared_inner as usize, 2);
    }

    fn add_block(&mut self, rows: usize, inner: usize, products: usize) {
        self.inner = self.inner.max(rows * inner);
        self.activated = self.activated.max(InputsSize::new(rows, inner));
        self.add_products(products, 2 * rows * panels(inner));
    }

    fn add_products(&mut self, products: usize, staging: usize) {
        self.products = self.products.max(products);
        self.staging = self.staging.max(staging);
    }

    /// Bytes that [`Scratch::new`] allocates.
    pub fn bytes(&self) -> u64 {
        let floats = 2 * self.residual
            + self.query
            + self.query_moved
            + self.staged
            + self.first
            + self.second
            + self.head_outputs
            + self.gate_logits
            + self.inner
            + self.expert_outputs
            + self.vocabulary;
        let fixed = floats * 4
            + self.choices * size_of::<Choice>()
            + (self.expert_slots + self.choices) * size_of::<u32>()
            + self.products * size_of::<Product>()
            + self.staging * size_of::<PanelRows>()
            + (self.turns + self.turn_back) * size_of::<Turn>()
            + self.sealing;
        let inputs = [
            self.normed,
            self.query_low,
            self.attended,
            self.head_inputs,
            self.gathered,
            self.activated,
        ];
        fixed as u64 + inputs.into_iter().map(InputsSize::bytes).sum::<u64>()
    }
}

const fn panels(rows: usize) -> usize {
    rows.div_ceil(PANEL_ROWS)
}

/// The buffers. Shapes in comments are for `batch` tokens at most.
#[derive(Debug)]
pub struct Scratch {
    /// `[batch, hidden]`: the residual stream.
    pub residual: Vec<f32>,
    /// `[batch, hidden]`: what a block adds to it.
    pub block: Vec<f32>,
    /// `[batch, hidden]`: the normalized stream.
    pub normed: Inputs,
    /// `[batch, query]`
    pub query: Vec<f32>,
    /// `[batch, query_rank]`: the query between its two projections (latent attention).
    pub query_low: Inputs,
    /// `[batch, first]`: keys, or latents with rotated keys.
    pub first: Vec<f32>,
    /// `[batch, second]`: values.
    pub second: Vec<f32>,
    /// `[batch, heads * value_dim]`
    pub attended: Inputs,
    /// `[heads, batch, nope_dim or kv_rank]`: inputs of per-head matrices (latent attention).
    pub head_inputs: Inputs,
    /// `[heads, batch, kv_rank or value_dim]`: their outputs.
    pub head_outputs: Vec<f32>,
    /// `[batch, experts]`
    pub gate_logits: Vec<f32>,
    /// `[batch, chosen]`
    pub choices: Vec<Choice>,
    /// `[experts + 1]`: first slot of each expert.
    pub expert_slots: Vec<u32>,
    /// `[batch * chosen]`: whose inputs stand where, by slot.
    pub slot_tokens: Vec<u32>,
    /// `[rows, hidden]`: inputs by expert, of the rows that are taken at once.
    pub gathered: Inputs,
    /// `[rows, inner]`
    pub up: Vec<f32>,
    /// `[rows, inner]`: gate projections, then inputs of the down projections.
    pub activated: Inputs,
    /// `[batch * chosen, hidden]`: the experts' outputs by slot.
    pub expert_outputs: Vec<f32>,
    /// The products of one step.
    pub products: Vec<Product>,
    /// Results of products before they are collected.
    pub staging: Vec<PanelRows>,
    /// `[vocabulary]`
    pub logits: Vec<f32>,
    /// `[batch, frequencies]`: RoPE's turns for the positions of the pass.
    pub turns: Vec<Turn>,
    /// `[frequencies]`: turns of queries that meet moved keys (ring).
    pub turn_back: Vec<Turn>,
    /// `[batch, query]`: queries turned back (ring).
    pub query_moved: Vec<f32>,
    /// Results of attention by blocks of queries.
    pub staged: Vec<f32>,
    /// Codes of a chunk that is sealed (ring).
    pub sealing: Vec<u8>,
}

impl Scratch {
    /// Allocates every buffer.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn new(sizes: &ScratchSizes) -> Result<Self, Error> {
        Ok(Self {
            residual: zeros(sizes.residual)?,
            block: zeros(sizes.residual)?,
            normed: Inputs::new(sizes.normed)?,
            query: zeros(sizes.query)?,
            query_low: Inputs::new(sizes.query_low)?,
            first: zeros(sizes.first)?,
            second: zeros(sizes.second)?,
            attended: Inputs::new(sizes.attended)?,
            head_inputs: Inputs::new(sizes.head_inputs)?,
            head_outputs: zeros(sizes.head_outputs)?,
            gate_logits: zeros(sizes.gate_logits)?,
            choices: zeros(sizes.choices)?,
            expert_slots: zeros(sizes.expert_slots)?,
            slot_tokens: zeros(sizes.choices)?,
            gathered: Inputs::new(sizes.gathered)?,
            up: zeros(sizes.inner)?,
            activated: Inputs::new(sizes.activated)?,
            expert_outputs: zeros(sizes.expert_outputs)?,
            products: list(sizes.products)?,
            staging: zeros(sizes.staging)?,
            logits: zeros(sizes.vocabulary)?,
            turns: zeros(sizes.turns)?,
            turn_back: zeros(sizes.turn_back)?,
            query_moved: zeros(sizes.query_moved)?,
            staged: zeros(sizes.staged)?,
            sealing: zeros(sizes.sealing)?,
        })
    }
}
