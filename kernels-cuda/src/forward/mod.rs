//! A pass over some tokens as a list of launches: embedding, the layers, and the head.

mod attention;
mod feed_forward;
mod latent;
mod ring;

use hardtack_format::TensorRef;
use hardtack_format::encoding::{GROUP_COLUMNS, PANEL_ROWS};
use hardtack_format::network::AttentionTensors;

use crate::device::{Address, Device, Extent, Launch};
use crate::kernel::Kernel;
use crate::model::Model;
use crate::params::Params;
use crate::session::{Buffers, InputSlots, buffer};
use crate::sizes::{BEST_PARTS, SessionSizes};

/// Warps of a block of the kernels that multiply.
const BLOCK_WARPS: u32 = 8;
/// Groups of 64 columns that a warp takes at once.
const WARP_GROUPS: u32 = 8;
/// Rows of a prompt that a warp takes at once.
const WARP_TOKENS: u32 = 32;
const ONE: Extent = Extent::Fixed(1);

/// What a pass is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// One token: each matrix is read by blocks that share out its columns too.
    Token,
    /// The tokens of a prompt: each matrix is read once for many of them.
    Prompt,
}

/// What the launches of a pass are made from, and the list so far.
pub struct Forward<'a, D: Device> {
    model: &'a Model<D>,
    buffers: &'a Buffers,
    sizes: &'a SessionSizes,
    pass: Pass,
    launches: Vec<Launch>,
}

/// One token through all layers, its logits, and the likeliest token.
pub fn decode<D: Device>(model: &Model<D>, buffers: &Buffers, sizes: &SessionSizes) -> Vec<Launch> {
    let mut launches = layers(model, buffers, sizes, Pass::Token);
    launches.extend(head(model, buffers));
    launches
}

/// The tokens of a prompt through all layers.
pub fn prompt<D: Device>(model: &Model<D>, buffers: &Buffers, sizes: &SessionSizes) -> Vec<Launch> {
    layers(model, buffers, sizes, Pass::Prompt)
}

/// The logits of one row of the residual stream, and the likeliest token.
pub fn head<D: Device>(model: &Model<D>, buffers: &Buffers) -> Vec<Launch> {
    let spec = &model.network.spec;
    let row = Some(buffer(buffers.state).plus(8));
    let normed =
        normalize(model, buffers.stream, &model.network.final_norm, buffers.normed, row, ONE);
    let head = &model.network.head;
    let job = Job { out: buffers.logits, scale: spec.logit_scale, ..Job::of(head) };
    let logits = multiply(model, &[job], buffers.normed, ONE);
    let best = Params::new()
        .address(buffer(buffers.logits))
        .address(buffer(buffers.best_values))
        .address(buffer(buffers.best_tokens))
        .address(buffer(buffers.tokens))
        .u32(spec.vocabulary)
        .u32(BEST_PARTS as u32);
    let parts = Launch::new(
        Kernel::BestOfParts,
        [Extent::Fixed(BEST_PARTS as u32), ONE, ONE],
        best.clone(),
    );
    vec![normed, logits, parts, Launch::new(Kernel::BestOfAll, [ONE; 3], best)]
}

fn layers<D: Device>(
    model: &Model<D>,
    buffers: &Buffers,
    sizes: &SessionSizes,
    pass: Pass,
) -> Vec<Launch> {
    let mut forward = Forward { model, buffers, sizes, pass, launches: Vec::new() };
    let (network, spec) = (&model.network, &model.network.spec);
    let embed = Params::new()
        .inner(model.matrix(&network.embedding))
        .address(buffer(buffers.tokens))
        .address(buffer(buffers.stream))
        .u32(spec.hidden)
        .f32(spec.embedding_scale);
    forward.launch(Kernel::Embed, [Extent::EACH_TOKEN, ONE, ONE], embed);
    for (index, (layer, tensors)) in spec.layers.iter().zip(&network.layers).enumerate() {
        forward.normalize(&tensors.attention_norm);
        match &tensors.attention {
            AttentionTensors::Grouped(tensors) => {
                forward.grouped_attention(index, &layer.attention, tensors)
            }
            AttentionTensors::Latent(tensors) => {
                forward.latent_attention(index, &layer.attention, tensors)
            }
        }
        forward.normalize(&tensors.feed_forward_norm);
        forward.feed_forward(index, &layer.feed_forward, &tensors.feed_forward);
    }
    forward.launches
}

/// One matrix to be multiplied with rows of inputs.
#[derive(Clone, Copy)]
struct Job<'a> {
    tensor: &'a TensorRef,
    bias: Option<&'a TensorRef>,
    /// Where the results go, or
    out: Option<Address>,
    /// what grows by them.
    residual: Option<Address>,
    scale: f32,
}

impl<'a> Job<'a> {
    fn of(tensor: &'a TensorRef) -> Self {
        Self { tensor, bias: None, out: None, residual: None, scale: 1.0 }
    }
}

impl<D: Device> Forward<'_, D> {
    fn launch(&mut self, kernel: Kernel, grid: [Extent; 3], params: Params) {
        self.launches.push(Launch::new(kernel, grid, params));
    }

    /// The residual stream, normalized into the inputs of the next matrices.
    fn normalize(&mut self, gain: &TensorRef) {
        let (stream, normed) = (self.buffers.stream, self.buffers.normed);
        self.launches.push(normalize(self.model, stream, gain, normed, None, Extent::EACH_TOKEN));
    }

    fn quantize(&mut self, inputs: InputSlots, columns: u32, rows: Extent) {
        let params = Params::new().inner(input_params(inputs)).u32(columns).u32(0);
        self.launch(Kernel::Quantize, [rows, ONE, ONE], params);
    }

    /// Up to three matrices with the same inputs, a row of them for each token.
    fn project(&mut self, jobs: &[Job<'_>], inputs: InputSlots) {
        if self.pass == Pass::Token {
            return self.launches.push(multiply(self.model, jobs, inputs, Extent::EACH_TOKEN));
        }
        for job in jobs {
            let (rows, columns) = (job.tensor.rows, job.tensor.columns);
            let params = Params::new()
                .inner(self.model.matrix(job.tensor))
                .optional(self.model.vector(job.bias))
                .inner(input_params(inputs))
                .optional(job.out)
                .optional(job.residual)
                .address(self.token_count())
                .u32(rows)
                .u32(columns)
                .f32(job.scale)
                .u32(0);
            let blocks = panels(rows).div_ceil(BLOCK_WARPS);
            let tokens = Extent::Tokens { times: 1, per_block: WARP_TOKENS };
            self.launch(Kernel::MultiplyPrompt, [Extent::Fixed(blocks), tokens, ONE], params);
        }
    }

    /// A matrix of a stack for each head: rows of inputs are `[tokens, heads]`.
    fn project_heads(&mut self, job: Job<'_>, inputs: InputSlots, heads: u32) {
        let rows = Extent::Tokens { times: heads, per_block: 1 };
        self.launches.push(multiply(self.model, &[job], inputs, rows));
    }

    fn position(&self) -> Address {
        buffer(self.buffers.state)
    }

    fn token_count(&self) -> Address {
        buffer(self.buffers.state).plus(4)
    }
}

fn normalize<D: Device>(
    model: &Model<D>,
    stream: Option<Address>,
    gain: &TensorRef,
    out: InputSlots,
    first_row: Option<Address>,
    rows: Extent,
) -> Launch {
    let params = Params::new()
        .address(buffer(stream))
        .address(model.address(gain))
        .inner(input_params(out))
        .optional(first_row)
        .u32(gain.columns)
        .f32(model.network.spec.norm_epsilon);
    Launch::new(Kernel::Normalize, [rows, ONE, ONE], params)
}

fn multiply<D: Device>(
    model: &Model<D>,
    jobs: &[Job<'_>],
    inputs: InputSlots,
    rows: Extent,
) -> Launch {
    let columns = jobs[0].tensor.columns;
    let mut params = Params::new();
    let mut first_panel = 0;
    for index in 0..3 {
        // Jobs behind the last one are never looked at.
        let job = jobs.get(index).unwrap_or(&jobs[0]);
        params = params
            .inner(model.matrix(job.tensor))
            .optional(model.vector(job.bias))
            .optional(job.out)
            .optional(job.residual)
            .u32(job.tensor.rows)
            .u32(job.tensor.stack)
            .f32(job.scale)
            .u32(first_panel);
        if index < jobs.len() {
            first_panel += panels(job.tensor.rows);
        }
    }
    let team_warps = team_warps(columns);
    let params = params
        .inner(input_params(inputs))
        .optional(None)
        .u32(jobs.len() as u32)
        .u32(first_panel)
        .u32(columns)
        .u32(team_warps);
    let blocks = first_panel.div_ceil(BLOCK_WARPS / team_warps);
    Launch::new(Kernel::Multiply, [Extent::Fixed(blocks), rows, ONE], params)
}

fn input_params(inputs: InputSlots) -> Params {
    Params::new()
        .optional(inputs.floats)
        .optional(inputs.codes)
        .optional(inputs.scales)
        .optional(inputs.sums)
}

/// Warps that share a panel: as many as its columns keep busy.
fn team_warps(columns: u32) -> u32 {
    let groups = columns.div_ceil(GROUP_COLUMNS as u32);
    groups.div_ceil(WARP_GROUPS).next_power_of_two().min(BLOCK_WARPS)
}

fn panels(rows: u32) -> u32 {
    rows.div_ceil(PANEL_ROWS as u32)
}
