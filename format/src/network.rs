//! A blob's tensors bound to the slots of its spec: every shape checked, none missing, none left
//! over.

use alloc::vec::Vec;

use crate::blob::{Blob, TensorRef};
use crate::encoding::Encoding;
use crate::error::FormatError;
use crate::kv_policy::KvPolicy;
use crate::role::{Role, SectionKey, SectionKind};
use crate::slots::{self, Slot, Slots};
use crate::spec::ModelSpec;
use crate::tensors::Filled;
pub use crate::tensors::{
    AttentionTensors, BlockTensors, ExpertsTensors, FeedForwardTensors, GroupedTensors,
    LatentTensors, LayerTensors,
};

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

impl Network {
    /// Binds every tensor of a blob to its slot.
    ///
    /// # Errors
    /// A section or tensor is missing, has another shape than the spec says, or has no slot in
    /// this network.
    pub fn bind(blob: &Blob<'_>) -> Result<Self, FormatError> {
        let spec = blob.spec()?;
        let key = SectionKey::only(SectionKind::Globals);
        let mut globals = section(blob, key, slots::globals(&spec))?;
        let embedding = globals.take(Role::Embedding);
        let mut layers = Vec::new();
        for (index, layer) in (0..).zip(&spec.layers) {
            let own = section(blob, SectionKey::layer(index), slots::layer(layer, spec.hidden))?;
            layers.push(LayerTensors::of(layer, own, |experts, expert| {
                let key = SectionKey::expert(index, expert);
                section(blob, key, slots::expert(experts, spec.hidden))
            })?);
        }
        check_sections_used(blob, &spec)?;
        Ok(Self {
            embedding,
            head: globals.find(Role::Head).unwrap_or(embedding),
            final_norm: globals.take(Role::FinalNorm),
            rope_frequencies: globals.find(Role::RopeFrequencies),
            layers,
            kv_policy: blob.kv_policy(&spec)?,
            spec,
        })
    }
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

/// The tensors of one section in their slots: shapes and encodings checked, none left over.
fn section(
    blob: &Blob<'_>,
    section: SectionKey,
    slots: Slots,
) -> Result<Filled<TensorRef>, FormatError> {
    let record =
        blob.section(section).ok_or(FormatError::Section { section, problem: "missing" })?;
    let mut left: Vec<(Role, TensorRef)> = blob.tensors(&record).collect();
    let filled = Filled::new(slots, |Slot { role, shape: expected, optional, .. }| {
        let at = left.iter().position(|(own, _)| *own == role);
        let Some((_, tensor)) = at.map(|at| left.remove(at)) else {
            let missing = FormatError::MissingTensor { section, role };
            return if optional { Ok(None) } else { Err(missing) };
        };
        let found = [tensor.stack, tensor.rows, tensor.columns];
        if found != expected {
            return Err(FormatError::Shape { section, role, expected, found });
        }
        if role.is_matrix() == (tensor.encoding == Encoding::Plain) {
            let found = tensor.encoding.name();
            return Err(FormatError::EncodingForRole { section, role, found });
        }
        Ok(Some(tensor))
    })?;
    match left.first() {
        None => Ok(filled),
        Some(&(role, _)) => Err(FormatError::UnusedTensor { section, role }),
    }
}
