//! A blob's tensors bound to the places the spec gives them: every shape checked, nothing missing,
//! nothing left over.

use alloc::vec::Vec;

use crate::blob::{Blob, TensorRef};
use crate::encoding::Encoding;
use crate::error::FormatError;
use crate::kv_policy::KvPolicy;
use crate::role::{Role, SectionKey, SectionKind};
use crate::spec::*;

/// All weights of a network, ready to be read.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its numbers.
    pub spec: ModelSpec,
    /// Token embeddings `[vocabulary, hidden]`.
    pub embedding: TensorRef,
    /// Output head `[vocabulary, hidden]`: the embedding where there is none of its own.
    pub head: TensorRef,
    /// Gain of the last normalization.
    pub final_norm: TensorRef,
    /// RoPE's angular frequencies, if any layer turns anything.
    pub rope_frequencies: Option<TensorRef>,
    /// The layers, first to last.
    pub layers: Vec<LayerTensors>,
    /// What bits of cached keys and values cost, if the blob says.
    pub kv_policy: Option<KvPolicy>,
}

/// Weights of one layer.
#[derive(Clone, Debug)]
pub struct LayerTensors {
    /// Gain before attention.
    pub attention_norm: TensorRef,
    /// Attention.
    pub attention: AttentionTensors,
    /// Gain before the feed-forward block.
    pub feed_forward_norm: TensorRef,
    /// The feed-forward block.
    pub feed_forward: FeedForwardTensors,
}

/// Weights of attention.
#[derive(Clone, Copy, Debug)]
pub enum AttentionTensors {
    /// Keys and values of their own.
    Grouped(GroupedTensors),
    /// Latent attention.
    Latent(LatentTensors),
}

/// Weights of multi-head and grouped-query attention.
#[derive(Clone, Copy, Debug)]
pub struct GroupedTensors {
    /// Query projection.
    pub query: TensorRef,
    /// Key projection.
    pub key: TensorRef,
    /// Value projection.
    pub value: TensorRef,
    /// Output projection.
    pub output: TensorRef,
    /// Bias of the query projection.
    pub query_bias: Option<TensorRef>,
    /// Bias of the key projection.
    pub key_bias: Option<TensorRef>,
    /// Bias of the value projection.
    pub value_bias: Option<TensorRef>,
    /// Bias of the output projection.
    pub output_bias: Option<TensorRef>,
    /// Gain of the query normalization.
    pub query_norm: Option<TensorRef>,
    /// Gain of the key normalization.
    pub key_norm: Option<TensorRef>,
    /// Sink logits, one a head.
    pub sinks: Option<TensorRef>,
}

/// Weights of latent attention.
#[derive(Clone, Copy, Debug)]
pub struct LatentTensors {
    /// Query projection, full or the second of two.
    pub query: TensorRef,
    /// First of two query projections and the gain between them.
    pub query_down: Option<(TensorRef, TensorRef)>,
    /// Projection to the latent and the rotated key.
    pub key_value_down: TensorRef,
    /// Gain of the latent's normalization.
    pub key_value_norm: TensorRef,
    /// Key up-projections transposed, a matrix a head.
    pub key_up: TensorRef,
    /// Value up-projections, a matrix a head.
    pub value_up: TensorRef,
    /// Output projection.
    pub output: TensorRef,
}

/// Weights of a feed-forward block.
#[derive(Clone, Debug)]
pub enum FeedForwardTensors {
    /// One block for every token.
    Dense(BlockTensors),
    /// A mixture of experts.
    Experts(ExpertsTensors),
}

/// Weights of a mixture of experts.
#[derive(Clone, Debug)]
pub struct ExpertsTensors {
    /// The gate.
    pub gate: TensorRef,
    /// Its bias.
    pub gate_bias: Option<TensorRef>,
    /// The routed experts.
    pub experts: Vec<BlockTensors>,
    /// The shared expert.
    pub shared: Option<BlockTensors>,
    /// The shared expert's own gate.
    pub shared_gate: Option<TensorRef>,
}

/// Weights of one gated block: an expert, a shared expert, or a dense feed-forward block.
#[derive(Clone, Copy, Debug)]
pub struct BlockTensors {
    /// Gate projection.
    pub gated: TensorRef,
    /// Up projection.
    pub up: TensorRef,
    /// Down projection.
    pub down: TensorRef,
    /// Bias of the gate projection.
    pub gated_bias: Option<TensorRef>,
    /// Bias of the up projection.
    pub up_bias: Option<TensorRef>,
    /// Bias of the down projection.
    pub down_bias: Option<TensorRef>,
}

impl Network {
    /// Binds every tensor of a blob to its place.
    ///
    /// # Errors
    /// A section or tensor is missing, has another shape than the spec says, or has no place in
    /// this network.
    pub fn bind(blob: &Blob<'_>) -> Result<Self, FormatError> {
        let spec = blob.spec()?;
        let mut globals = Tensors::of(blob, SectionKey::only(SectionKind::Globals))?;
        let table = [1, spec.vocabulary, spec.hidden];
        let embedding = globals.matrix(Role::Embedding, table)?;
        let final_norm = globals.vector(Role::FinalNorm, spec.hidden)?;
        let head =
            if globals.has(Role::Head) { globals.matrix(Role::Head, table)? } else { embedding };
        let rope_dim = spec.layers.iter().map(|layer| layer.attention.rope_dim).max().unwrap_or(0);
        let rope_frequencies = if rope_dim > 0 {
            Some(globals.vector(Role::RopeFrequencies, rope_dim / 2)?)
        } else {
            None
        };
        globals.finish()?;

        let mut layers = Vec::new();
        for (index, layer) in spec.layers.iter().enumerate() {
            layers.push(bind_layer(blob, index as u32, layer, spec.hidden)?);
        }
        check_sections_used(blob, &spec)?;
        let kv_policy = blob.kv_policy(&spec)?;
        Ok(Self { spec, embedding, head, final_norm, rope_frequencies, layers, kv_policy })
    }
}

fn bind_layer(
    blob: &Blob<'_>,
    index: u32,
    layer: &LayerSpec,
    hidden: u32,
) -> Result<LayerTensors, FormatError> {
    let mut tensors = Tensors::of(blob, SectionKey::layer(index))?;
    let attention_norm = tensors.vector(Role::AttentionNorm, hidden)?;
    let attention = bind_attention(&mut tensors, &layer.attention, hidden)?;
    let feed_forward_norm = tensors.vector(Role::FeedForwardNorm, hidden)?;
    let feed_forward = match &layer.feed_forward.kind {
        FeedForwardKind::Dense { inner } => {
            FeedForwardTensors::Dense(bind_block(&mut tensors, *inner, hidden)?)
        }
        FeedForwardKind::Experts(experts) => {
            let gate = tensors.matrix(Role::Gate, [1, experts.count, hidden])?;
            let gate_bias = tensors.optional_vector(Role::GateBias, experts.count)?;
            let shared = match experts.shared_inner {
                0 => None,
                inner => Some(bind_block(&mut tensors, inner, hidden)?),
            };
            let shared_gate = tensors.optional_vector(Role::SharedGate, hidden)?;
            let mut routed = Vec::new();
            for expert in 0..experts.count {
                let mut own = Tensors::of(blob, SectionKey::expert(index, expert))?;
                routed.push(bind_block(&mut own, experts.inner, hidden)?);
                own.finish()?;
            }
            FeedForwardTensors::Experts(ExpertsTensors {
                gate,
                gate_bias,
                experts: routed,
                shared,
                shared_gate,
            })
        }
    };
    tensors.finish()?;
    Ok(LayerTensors { attention_norm, attention, feed_forward_norm, feed_forward })
}

fn bind_attention(
    tensors: &mut Tensors,
    attention: &AttentionSpec,
    hidden: u32,
) -> Result<AttentionTensors, FormatError> {
    let heads = attention.heads;
    match attention.kind {
        AttentionKind::Grouped { kv_heads, head_dim, norm } => {
            let (query_rows, key_rows) = (heads * head_dim, kv_heads * head_dim);
            let (query_norm, key_norm) = match norm {
                HeadNorm::None => (None, None),
                HeadNorm::PerHead => (
                    Some(tensors.vector(Role::QueryNorm, head_dim)?),
                    Some(tensors.vector(Role::KeyNorm, head_dim)?),
                ),
                HeadNorm::Whole => (
                    Some(tensors.vector(Role::QueryNorm, query_rows)?),
                    Some(tensors.vector(Role::KeyNorm, key_rows)?),
                ),
            };
            Ok(AttentionTensors::Grouped(GroupedTensors {
                query: tensors.matrix(Role::Query, [1, query_rows, hidden])?,
                key: tensors.matrix(Role::Key, [1, key_rows, hidden])?,
                value: tensors.matrix(Role::Value, [1, key_rows, hidden])?,
                output: tensors.matrix(Role::Output, [1, hidden, query_rows])?,
                query_bias: tensors.optional_vector(Role::QueryBias, query_rows)?,
                key_bias: tensors.optional_vector(Role::KeyBias, key_rows)?,
                value_bias: tensors.optional_vector(Role::ValueBias, key_rows)?,
                output_bias: tensors.optional_vector(Role::OutputBias, hidden)?,
                query_norm,
                key_norm,
                sinks: tensors.optional_vector(Role::Sinks, heads)?,
            }))
        }
        AttentionKind::Latent { query_rank, kv_rank, nope_dim, value_dim } => {
            let query_rows = heads * attention.query_dim();
            let (query_down, query_columns) = match query_rank {
                0 => (None, hidden),
                rank => {
                    let down = tensors.matrix(Role::QueryDown, [1, rank, hidden])?;
                    (Some((down, tensors.vector(Role::QueryDownNorm, rank)?)), rank)
                }
            };
            Ok(AttentionTensors::Latent(LatentTensors {
                query: tensors.matrix(Role::Query, [1, query_rows, query_columns])?,
                query_down,
                key_value_down: tensors
                    .matrix(Role::KeyValueDown, [1, kv_rank + attention.rope_dim, hidden])?,
                key_value_norm: tensors.vector(Role::KeyValueNorm, kv_rank)?,
                key_up: tensors.matrix(Role::KeyUp, [heads, kv_rank, nope_dim])?,
                value_up: tensors.matrix(Role::ValueUp, [heads, value_dim, kv_rank])?,
                output: tensors.matrix(Role::Output, [1, hidden, heads * value_dim])?,
            }))
        }
    }
}

fn bind_block(tensors: &mut Tensors, inner: u32, hidden: u32) -> Result<BlockTensors, FormatError> {
    Ok(BlockTensors {
        gated: tensors.matrix(Role::Gated, [1, inner, hidden])?,
        up: tensors.matrix(Role::Up, [1, inner, hidden])?,
        down: tensors.matrix(Role::Down, [1, hidden, inner])?,
        gated_bias: tensors.optional_vector(Role::GatedBias, inner)?,
        up_bias: tensors.optional_vector(Role::UpBias, inner)?,
        down_bias: tensors.optional_vector(Role::DownBias, hidden)?,
    })
}

/// Layers and experts that the spec does not have are refused.
fn check_sections_used(blob: &Blob<'_>, spec: &ModelSpec) -> Result<(), FormatError> {
    for record in blob.sections() {
        let key = record.key;
        let layer = spec.layers.get(key.layer as usize);
        let used = match key.kind {
            SectionKind::Layer => layer.is_some() && key.expert == 0,
            SectionKind::Expert => layer
                .and_then(|layer| layer.feed_forward.experts())
                .is_some_and(|experts| key.expert < experts.count),
            _ => key.layer == 0 && key.expert == 0,
        };
        if !used {
            return Err(FormatError::Section { section: key, problem: "unexpected" });
        }
    }
    Ok(())
}

/// The tensors of one section, each to be taken once.
struct Tensors {
    key: SectionKey,
    left: Vec<(Role, TensorRef)>,
}

impl Tensors {
    fn of(blob: &Blob<'_>, key: SectionKey) -> Result<Self, FormatError> {
        let record =
            blob.section(key).ok_or(FormatError::Section { section: key, problem: "missing" })?;
        Ok(Self { key, left: blob.tensors(&record).collect() })
    }

    fn has(&self, role: Role) -> bool {
        self.left.iter().any(|(own, _)| *own == role)
    }

    fn take(&mut self, role: Role, expected: [u32; 3]) -> Result<TensorRef, FormatError> {
        let section = self.key;
        let at = self.left.iter().position(|(own, _)| *own == role);
        let (_, tensor) = self.left.remove(at.ok_or(FormatError::MissingTensor { section, role })?);
        let found = [tensor.stack, tensor.rows, tensor.columns];
        if found == expected {
            Ok(tensor)
        } else {
            Err(FormatError::Shape { section, role, expected, found })
        }
    }

    fn matrix(&mut self, role: Role, shape: [u32; 3]) -> Result<TensorRef, FormatError> {
        let tensor = self.take(role, shape)?;
        self.expect_encoding(role, tensor, tensor.encoding != Encoding::Plain)
    }

    fn vector(&mut self, role: Role, length: u32) -> Result<TensorRef, FormatError> {
        let tensor = self.take(role, [1, 1, length])?;
        self.expect_encoding(role, tensor, tensor.encoding == Encoding::Plain)
    }

    fn optional_vector(
        &mut self,
        role: Role,
        length: u32,
    ) -> Result<Option<TensorRef>, FormatError> {
        if self.has(role) { self.vector(role, length).map(Some) } else { Ok(None) }
    }

    fn expect_encoding(
        &self,
        role: Role,
        tensor: TensorRef,
        fits: bool,
    ) -> Result<TensorRef, FormatError> {
        if fits {
            Ok(tensor)
        } else {
            Err(FormatError::EncodingForRole {
                section: self.key,
                role,
                found: tensor.encoding.name(),
            })
        }
    }

    fn finish(self) -> Result<(), FormatError> {
        match self.left.first() {
            None => Ok(()),
            Some(&(role, _)) => Err(FormatError::UnusedTensor { section: self.key, role }),
        }
    }
}
