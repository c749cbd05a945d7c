//! The feed-forward block: dense, or the experts that the router chooses on the device, and the
//! shared one.

use hardtack_format::encoding::{GROUP_COLUMNS, PANEL_ROWS};
use hardtack_format::network::{ExpertsTensors, FeedForwardTensors};
use hardtack_format::spec::{
    Activation, ExpertsSpec, FeedForwardKind, FeedForwardSpec, RouterKind,
};

use super::list::{BLOCK_WARPS, Forward, Job, ONE, Pass, input_params, panels, team_warps};
use crate::address::Address;
use crate::buffers::{Slot, buffer};
use crate::device::Device;
use crate::kernel::Kernel;
use crate::launch::Extent;
use crate::params::Params;

/// One kind of experts of a layer, and where their sum goes.
struct Experts {
    table: Address,
    choices: Slot,
    count: u32,
    chosen: u32,
    inner: u32,
    activation: Activation,
    before: Slot,
    /// Nothing for the residual stream.
    out: Slot,
}

impl<D: Device> Forward<'_, D> {
    pub(super) fn feed_forward(
        &mut self,
        layer: usize,
        spec: &FeedForwardSpec,
        tensors: &FeedForwardTensors,
    ) {
        let (tables, buffers, activation) =
            (self.model.tables(layer), self.buffers, spec.activation);
        let (experts, tensors) = match (&spec.kind, tensors) {
            (FeedForwardKind::Experts(spec), FeedForwardTensors::Experts(tensors)) => {
                (spec, tensors)
            }
            (&FeedForwardKind::Dense { inner }, _) => {
                self.shared_weight(None);
                let choices = buffers.shared_choices;
                let table = tables.experts;
                let block = Experts {
                    table,
                    choices,
                    count: 1,
                    chosen: 1,
                    inner,
                    activation,
                    before: None,
                    out: None,
                };
                return self.experts(&block);
            }
            (FeedForwardKind::Experts(_), FeedForwardTensors::Dense(_)) => {
                unreachable!("bound from the same spec")
            }
        };
        self.router(experts, tensors);
        let mut block = Experts {
            table: tables.experts,
            choices: buffers.choices,
            count: experts.count,
            chosen: experts.chosen,
            inner: experts.inner,
            activation,
            before: None,
            out: None,
        };
        let Some(shared) = tables.shared else {
            return self.experts(&block);
        };
        block.out = buffers.block;
        self.experts(&block);
        self.shared_weight(self.model.vector(tensors.shared_gate.as_ref()));
        self.experts(&Experts {
            table: shared,
            choices: buffers.shared_choices,
            count: 1,
            chosen: 1,
            inner: experts.shared_inner,
            activation,
            before: buffers.block,
            out: None,
        });
    }

    /// The router's choices.
    fn router(&mut self, spec: &ExpertsSpec, tensors: &ExpertsTensors) {
        let buffers = self.buffers;
        let router = Job {
            bias: tensors.router_bias.as_ref(),
            out: buffers.router_logits,
            ..Job::of(&tensors.router)
        };
        self.project(&[router], buffers.normed);
        let kind = match spec.router {
            RouterKind::SoftmaxAll => 1,
            RouterKind::SoftmaxChosen => 2,
        };
        let params = Params::new()
            .address(buffer(buffers.router_logits))
            .address(buffer(buffers.choices))
            .u32(spec.count)
            .u32(spec.chosen)
            .u32(kind)
            .f32(spec.routed_scale);
        self.launch(Kernel::Choose, [Extent::EACH_TOKEN, ONE, ONE], params);
    }

    /// The choice of the only expert there is, for every token.
    fn shared_weight(&mut self, gate: Option<Address>) {
        let params = Params::new()
            .address(buffer(self.buffers.normed.floats))
            .optional(gate)
            .address(buffer(self.buffers.shared_choices))
            .u32(self.model.network.spec.hidden)
            .u32(0);
        self.launch(Kernel::SharedWeight, [Extent::EACH_TOKEN, ONE, ONE], params);
    }

    fn experts(&mut self, block: &Experts) {
        match self.pass {
            Pass::Token => self.experts_of_token(block),
            Pass::Prompt => self.experts_of_prompt(block),
        }
    }

    fn experts_of_token(&mut self, block: &Experts) {
        let (buffers, hidden) = (self.buffers, self.model.network.spec.hidden);
        let params = Params::new()
            .address(block.table)
            .address(buffer(block.choices))
            .inner(input_params(buffers.normed))
            .inner(input_params(buffers.activated))
            .u32(block.chosen)
            .u32(hidden)
            .u32(block.inner)
            .u32(team_warps(hidden))
            .inner(activation_params(block.activation));
        let groups = Extent::Fixed(block.inner.div_ceil(GROUP_COLUMNS as u32));
        self.launch(
            Kernel::ExpertsGated,
            [groups, Extent::Fixed(block.chosen), Extent::EACH_TOKEN],
            params,
        );

        let params = Params::new()
            .address(block.table)
            .address(buffer(block.choices))
            .inner(input_params(buffers.activated))
            .optional(block.before)
            .optional(block.out)
            .optional(self.residual(block))
            .u32(block.chosen)
            .u32(hidden)
            .u32(block.inner)
            .u32(team_warps(block.inner))
            .f32(self.model.network.spec.residual_scale)
            .u32(0);
        self.launch(
            Kernel::ExpertsDown,
            [Extent::Fixed(panels(hidden)), Extent::EACH_TOKEN, ONE],
            params,
        );
    }

    fn experts_of_prompt(&mut self, block: &Experts) {
        let (buffers, hidden) = (self.buffers, self.model.network.spec.hidden);
        let mut grouping = Params::new();
        if block.count > 1 {
            let (starts, rows) = (buffer(buffers.starts), buffer(buffers.rows));
            let params = Params::new()
                .address(buffer(block.choices))
                .address(starts)
                .address(rows)
                .address(self.token_count())
                .u32(block.count)
                .u32(block.chosen);
            self.launch(Kernel::GroupByExpert, [ONE; 3], params);
            grouping = grouping.address(starts).address(rows);
        } else {
            grouping = grouping.optional(None).optional(None);
        }
        let grouping = grouping.address(self.token_count());
        let params = Params::new()
            .address(block.table)
            .inner(grouping.clone())
            .inner(input_params(buffers.normed))
            .inner(input_params(buffers.activated))
            .u32(block.chosen)
            .u32(hidden)
            .u32(block.inner)
            .u32(0)
            .inner(activation_params(block.activation));
        let (groups, count) =
            (Extent::Fixed(block.inner.div_ceil(GROUP_COLUMNS as u32)), Extent::Fixed(block.count));
        self.launch(Kernel::ExpertsGatedPrompt, [groups, count, ONE], params);

        let params = Params::new()
            .address(block.table)
            .inner(grouping)
            .inner(input_params(buffers.activated))
            .address(buffer(buffers.expert_outputs))
            .u32(hidden)
            .u32(block.inner);
        let blocks = Extent::Fixed(hidden.div_ceil(PANEL_ROWS as u32 * BLOCK_WARPS));
        self.launch(Kernel::ExpertsDownPrompt, [blocks, count, ONE], params);

        let params = Params::new()
            .address(buffer(block.choices))
            .address(buffer(buffers.expert_outputs))
            .optional(block.before)
            .optional(block.out)
            .optional(self.residual(block))
            .u32(block.chosen)
            .u32(hidden)
            .f32(self.model.network.spec.residual_scale)
            .u32(0);
        self.launch(Kernel::ExpertsSum, [Extent::EACH_TOKEN, ONE, ONE], params);
    }

    /// The residual stream, where the sum goes there.
    fn residual(&self, block: &Experts) -> Slot {
        if block.out.is_some() { None } else { self.buffers.stream }
    }
}

fn activation_params(activation: Activation) -> Params {
    let (kind, alpha, limit) = match activation {
        Activation::Silu => (1, 0.0, 0.0),
        Activation::ClampedSwiglu { alpha, limit } => (2, alpha, limit),
    };
    Params::new().u32(kind).f32(alpha).f32(limit).u32(0)
}
