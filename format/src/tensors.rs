//! The tensors of one layer by name, whatever stands for a tensor: a reference into a blob, or a
//! matrix in memory.

use alloc::vec::Vec;

use crate::blob::TensorRef;
use crate::role::Role;
use crate::slots::{self, Slot, Slots};
use crate::spec::*;

/// Weights of one layer.
#[derive(Clone, Debug)]
pub struct LayerTensors<T = TensorRef> {
    /// Gain before attention.
    pub attention_norm: T,
    /// Attention.
    pub attention: AttentionTensors<T>,
    /// Gain before the feed-forward block.
    pub feed_forward_norm: T,
    /// The feed-forward block.
    pub feed_forward: FeedForwardTensors<T>,
}

/// Weights of attention.
#[derive(Clone, Copy, Debug)]
pub enum AttentionTensors<T = TensorRef> {
    /// Keys and values of their own.
    Grouped(GroupedTensors<T>),
    /// Latent attention.
    Latent(LatentTensors<T>),
}

/// Weights of multi-head and grouped-query attention.
#[derive(Clone, Copy, Debug)]
pub struct GroupedTensors<T = TensorRef> {
    /// Query projection.
    pub query: T,
    /// Key projection.
    pub key: T,
    /// Value projection.
    pub value: T,
    /// Output projection.
    pub output: T,
    /// Bias of the query projection.
    pub query_bias: Option<T>,
    /// Bias of the key projection.
    pub key_bias: Option<T>,
    /// Bias of the value projection.
    pub value_bias: Option<T>,
    /// Bias of the output projection.
    pub output_bias: Option<T>,
    /// Gain of the query normalization.
    pub query_norm: Option<T>,
    /// Gain of the key normalization.
    pub key_norm: Option<T>,
    /// Sink logits, one a head.
    pub sinks: Option<T>,
}

/// Weights of latent attention.
#[derive(Clone, Copy, Debug)]
pub struct LatentTensors<T = TensorRef> {
    /// Query projection, full or the second of two.
    pub query: T,
    /// First of two query projections and the gain between them.
    pub query_down: Option<(T, T)>,
    /// Projection to the latent and the rotated key.
    pub key_value_down: T,
    /// Gain of the latent's normalization.
    pub key_value_norm: T,
    /// Key up-projections transposed, a matrix a head.
    pub key_up: T,
    /// Value up-projections, a matrix a head.
    pub value_up: T,
    /// Output projection.
    pub output: T,
}

/// Weights of a feed-forward block.
#[derive(Clone, Debug)]
pub enum FeedForwardTensors<T = TensorRef> {
    /// One block for every token.
    Dense(BlockTensors<T>),
    /// A mixture of experts.
    Experts(ExpertsTensors<T>),
}

/// Weights of a mixture of experts.
#[derive(Clone, Debug)]
pub struct ExpertsTensors<T = TensorRef> {
    /// The router.
    pub router: T,
    /// Its bias.
    pub router_bias: Option<T>,
    /// The routed experts.
    pub experts: Vec<BlockTensors<T>>,
    /// The shared expert.
    pub shared: Option<BlockTensors<T>>,
    /// The shared expert's own gate.
    pub shared_gate: Option<T>,
}

/// Weights of one gated block: an expert, a shared expert, or a dense feed-forward block.
#[derive(Clone, Copy, Debug)]
pub struct BlockTensors<T = TensorRef> {
    /// Router projection.
    pub gated: T,
    /// Up projection.
    pub up: T,
    /// Down projection.
    pub down: T,
    /// Bias of the gate projection.
    pub gated_bias: Option<T>,
    /// Bias of the up projection.
    pub up_bias: Option<T>,
    /// Bias of the down projection.
    pub down_bias: Option<T>,
}

/// What fills the slots of one section.
pub(crate) struct Filled<T>(Vec<(Role, T)>);

impl<T> Filled<T> {
    /// Fills every slot; only an optional one may stay empty.
    ///
    /// # Panics
    /// If `fill` leaves another one empty.
    pub(crate) fn new<E>(
        slots: Slots,
        mut fill: impl FnMut(Slot) -> Result<Option<T>, E>,
    ) -> Result<Self, E> {
        let mut filled = Vec::new();
        for slot in slots {
            let tensor = fill(slot)?;
            assert!(tensor.is_some() || slot.optional, "{} has a tensor", slot.role);
            filled.extend(tensor.map(|tensor| (slot.role, tensor)));
        }
        Ok(Self(filled))
    }

    pub(crate) fn find(&mut self, role: Role) -> Option<T> {
        let at = self.0.iter().position(|(own, _)| *own == role)?;
        Some(self.0.swap_remove(at).1)
    }

    /// A tensor whose slot the spec is sure to have.
    pub(crate) fn take(&mut self, role: Role) -> T {
        self.find(role).unwrap_or_else(|| unreachable!("{role} has a slot"))
    }

    fn grouped(&mut self) -> GroupedTensors<T> {
        GroupedTensors {
            query: self.take(Role::Query),
            key: self.take(Role::Key),
            value: self.take(Role::Value),
            output: self.take(Role::Output),
            query_bias: self.find(Role::QueryBias),
            key_bias: self.find(Role::KeyBias),
            value_bias: self.find(Role::ValueBias),
            output_bias: self.find(Role::OutputBias),
            query_norm: self.find(Role::QueryNorm),
            key_norm: self.find(Role::KeyNorm),
            sinks: self.find(Role::Sinks),
        }
    }

    fn latent(&mut self) -> LatentTensors<T> {
        let query_down = self.find(Role::QueryDown);
        LatentTensors {
            query: self.take(Role::Query),
            query_down: query_down.map(|down| (down, self.take(Role::QueryDownNorm))),
            key_value_down: self.take(Role::KeyValueDown),
            key_value_norm: self.take(Role::KeyValueNorm),
            key_up: self.take(Role::KeyUp),
            value_up: self.take(Role::ValueUp),
            output: self.take(Role::Output),
        }
    }

    fn block(&mut self) -> BlockTensors<T> {
        BlockTensors {
            gated: self.take(Role::Gated),
            up: self.take(Role::Up),
            down: self.take(Role::Down),
            gated_bias: self.find(Role::GatedBias),
            up_bias: self.find(Role::UpBias),
            down_bias: self.find(Role::DownBias),
        }
    }
}

impl<T> LayerTensors<T> {
    /// Fills every slot of a layer. `fill` gets the slot and the number of its routed expert, if it
    /// belongs to one; it returns none only for what is optional.
    ///
    /// # Errors
    /// The first one of `fill`.
    ///
    /// # Panics
    /// If `fill` returns none for what a network cannot do without.
    pub fn fill<E>(
        spec: &LayerSpec,
        hidden: u32,
        mut fill: impl FnMut(Slot, Option<u32>) -> Result<Option<T>, E>,
    ) -> Result<Self, E> {
        let own = Filled::new(slots::layer(spec, hidden), |slot| fill(slot, None))?;
        Self::of(spec, own, |experts, expert| {
            Filled::new(slots::expert(experts, hidden), |slot| fill(slot, Some(expert)))
        })
    }

    /// Names what fills a layer's section and those of its routed experts.
    pub(crate) fn of<E>(
        spec: &LayerSpec,
        mut own: Filled<T>,
        mut expert: impl FnMut(&ExpertsSpec, u32) -> Result<Filled<T>, E>,
    ) -> Result<Self, E> {
        let attention = match spec.attention.kind {
            AttentionKind::Grouped { .. } => AttentionTensors::Grouped(own.grouped()),
            AttentionKind::Latent { .. } => AttentionTensors::Latent(own.latent()),
        };
        let feed_forward = match &spec.feed_forward.kind {
            FeedForwardKind::Dense { .. } => FeedForwardTensors::Dense(own.block()),
            FeedForwardKind::Experts(experts) => {
                let routed = (0..experts.count).map(|index| Ok(expert(experts, index)?.block()));
                FeedForwardTensors::Experts(ExpertsTensors {
                    experts: routed.collect::<Result<_, E>>()?,
                    router: own.take(Role::Router),
                    router_bias: own.find(Role::RouterBias),
                    shared: (experts.shared_inner > 0).then(|| own.block()),
                    shared_gate: own.find(Role::SharedGate),
                })
            }
        };
        Ok(Self {
            attention_norm: own.take(Role::AttentionNorm),
            attention,
            feed_forward_norm: own.take(Role::FeedForwardNorm),
            feed_forward,
        })
    }
}
