//! The list of launches that a pass becomes, and what every block of the network adds to it.

use hardtack_format::TensorRef;
use hardtack_format::encoding::{GROUP_COLUMNS, PANEL_ROWS};

use crate::address::Address;
use crate::buffers::{Buffers, Inputs, Slot, buffer};
use crate::cache::Cache;
use crate::device::Device;
use crate::kernel::Kernel;
use crate::launch::{Extent, Launch};
use crate::memory::Memory;
use crate::model::Model;
use crate::params::Params;
use crate::sizes::SessionSizes;

/// Warps of a block of the kernels that multiply.
pub const BLOCK_WARPS: u32 = 8;
/// Groups of 64 columns that a warp takes at once.
const WARP_GROUPS: u32 = 8;
/// Rows of a prompt that a warp takes at once.
const WARP_TOKENS: u32 = 32;
pub const ONE: Extent = Extent::Fixed(1);

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
    pub model: &'a Model<D>,
    pub buffers: &'a Buffers<Slot>,
    /// Of every layer.
    pub caches: &'a [Cache<Slot>],
    pub sizes: &'a SessionSizes,
    pub pass: Pass,
    pub launches: Vec<Launch>,
}

impl<'a, D: Device> Forward<'a, D> {
    /// A list without launches.
    pub fn new(
        model: &'a Model<D>,
        memory: &'a Memory,
        sizes: &'a SessionSizes,
        pass: Pass,
    ) -> Self {
        let Memory { buffers, caches, .. } = memory;
        Self { model, buffers, caches, sizes, pass, launches: Vec::new() }
    }
}

/// One matrix to be multiplied with rows of inputs.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    pub tensor: &'a TensorRef,
    pub bias: Option<&'a TensorRef>,
    /// Where the results go, or
    pub out: Option<Address>,
    /// what grows by them.
    pub residual: Option<Address>,
    pub scale: f32,
}

impl<'a> Job<'a> {
    pub fn of(tensor: &'a TensorRef) -> Self {
        Self { tensor, bias: None, out: None, residual: None, scale: 1.0 }
    }
}

impl<D: Device> Forward<'_, D> {
    pub fn launch(&mut self, kernel: Kernel, grid: [Extent; 3], params: Params) {
        self.launches.push(Launch::new(kernel, grid, params));
    }

    /// The residual stream, normalized into the inputs of the next matrices.
    pub fn normalize(&mut self, gain: &TensorRef) {
        let (stream, normed) = (self.buffers.stream, self.buffers.normed);
        self.launches.push(normalize(self.model, stream, gain, normed, None, Extent::EACH_TOKEN));
    }

    pub fn quantize(&mut self, inputs: Inputs<Slot>, columns: u32, rows: Extent) {
        let params = Params::new().inner(input_params(inputs)).u32(columns).u32(0);
        self.launch(Kernel::Quantize, [rows, ONE, ONE], params);
    }

    /// Up to three matrices with the same inputs, a row of them for each token.
    pub fn project(&mut self, jobs: &[Job<'_>], inputs: Inputs<Slot>) {
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
    pub fn project_heads(&mut self, job: Job<'_>, inputs: Inputs<Slot>, heads: u32) {
        let rows = Extent::Tokens { times: heads, per_block: 1 };
        self.launches.push(multiply(self.model, &[job], inputs, rows));
    }

    pub fn position(&self) -> Address {
        buffer(self.buffers.state)
    }

    pub fn token_count(&self) -> Address {
        buffer(self.buffers.state).plus(4)
    }
}

pub fn normalize<D: Device>(
    model: &Model<D>,
    stream: Option<Address>,
    gain: &TensorRef,
    out: Inputs<Slot>,
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

pub fn multiply<D: Device>(
    model: &Model<D>,
    jobs: &[Job<'_>],
    inputs: Inputs<Slot>,
    rows: Extent,
) -> Launch {
    let columns = jobs[0].tensor.columns;
    let mut params = Params::new();
    let mut first_panel = 0;
    for index in 0..3 {
        // Jobs after the last one are never looked at.
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

pub fn input_params(inputs: Inputs<Slot>) -> Params {
    Params::new()
        .optional(inputs.floats)
        .optional(inputs.codes)
        .optional(inputs.scales)
        .optional(inputs.sums)
}

/// Warps that share a panel: as many as its columns keep busy.
pub fn team_warps(columns: u32) -> u32 {
    let groups = columns.div_ceil(GROUP_COLUMNS as u32);
    groups.div_ceil(WARP_GROUPS).next_power_of_two().min(BLOCK_WARPS)
}

pub fn panels(rows: u32) -> u32 {
    rows.div_ceil(PANEL_ROWS as u32)
}
