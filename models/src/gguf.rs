//! What the families share in GGUF files: the basic settings and the usual names.

use std::collections::HashSet;

use hardtack_format::Role;
use hardtack_format::limits::LAYERS_MAX;
use hardtack_format::spec::{ExpertsSpec, ModelSpec, RouterKind};

use crate::basics::Basics;
use crate::draft::{Draft, Locate, plain, whole};
use crate::error::FamilyError;
use crate::metadata::{Metadata, Setting};
use crate::rope_settings::{self, YarnRule};
use crate::select::Selection;
use crate::slots::{BIASES, Head, Place, Slot};
use crate::source::Source;
use crate::tensors::Names;

/// How a pair of rotated rows of queries and keys is stored. llama.cpp decides by architecture
/// (`llama_model_rope_type`), and its conversion brings the rows into that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// Half a head apart, as the runtime wants them.
    Halves,
    /// Side by side, in every head of this many rows.
    SideBySide { head_dim: u32 },
}

/// Reads the basic settings of a family with grouped attention.
pub(crate) fn basics(
    metadata: &Metadata,
    names: &dyn Names,
    rule: YarnRule,
) -> Result<Basics, FamilyError> {
    let hidden = metadata.positive_count("embedding_length")?;
    let heads = metadata.positive_count("attention.head_count")?;
    let head_dim = metadata.optional_count("attention.key_length")?.unwrap_or(hidden / heads);
    if metadata
        .optional_count("attention.value_length")?
        .is_some_and(|value_dim| value_dim != head_dim)
    {
        return Err(
            metadata.unsupported("attention.value_length", "the same as attention.key_length")
        );
    }
    if metadata.optional_count("rope.dimension_count")?.is_some_and(|rope_dim| rope_dim != head_dim)
    {
        return Err(
            metadata.unsupported("rope.dimension_count", "the same as attention.key_length")
        );
    }
    basics_of_head(metadata, names, head_dim, head_dim, rule)
}

/// Reads the basic settings of a family whose heads are described elsewhere.
pub(crate) fn basics_of_head(
    metadata: &Metadata,
    names: &dyn Names,
    head_dim: u32,
    rope_dim: u32,
    rule: YarnRule,
) -> Result<Basics, FamilyError> {
    let hidden = metadata.positive_count("embedding_length")?;
    let heads = metadata.positive_count("attention.head_count")?;
    let layer_count = metadata.positive_count("block_count")?;
    if layer_count > LAYERS_MAX {
        return Err(metadata.bad(
            "block_count",
            "at most 1024",
            &Setting::Unsigned(layer_count.into()),
        ));
    }
    let settings = rope_settings::from_gguf(metadata, rope_dim, rule)?;
    let head = if names.shape("output.weight").is_some() { Head::Own } else { Head::Tied };
    Ok(Basics {
        vocabulary: vocabulary(metadata, names, hidden)?,
        hidden,
        layer_count,
        heads,
        kv_heads: metadata.optional_count("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        context_max: metadata.count("context_length")?,
        norm_epsilon: metadata.positive("attention.layer_norm_rms_epsilon")? as f32,
        rope: settings.rope,
        all_dim_scale: settings.all_dim_scale,
        head,
    })
}

/// Rows of the embeddings: many files have no key for them.
fn vocabulary(metadata: &Metadata, names: &dyn Names, hidden: u32) -> Result<u32, FamilyError> {
    const NAME: &str = "token_embd.weight";
    let (tensor, role) = (NAME.into(), Role::Embedding);
    let rows = metadata.optional_count("vocab_size")?.unwrap_or(1);
    let expected = vec![rows as usize, hidden as usize];
    match names.shape(NAME) {
        None => Err(FamilyError::MissingTensor { tensor, role, expected }),
        // A number too large for the format is refused with the spec.
        Some(found) if found.len() == 2 => Ok(u32::try_from(found[0]).unwrap_or(u32::MAX)),
        Some(found) => Err(FamilyError::TensorShape { tensor, role, expected, found }),
    }
}

/// A mixture without a shared expert.
pub(crate) fn experts(
    metadata: &Metadata,
    inner: &str,
    router: RouterKind,
) -> Result<ExpertsSpec, FamilyError> {
    Ok(ExpertsSpec {
        count: metadata.count("expert_count")?,
        chosen: metadata.count("expert_used_count")?,
        inner: metadata.count(inner)?,
        shared_inner: 0,
        router,
        routed_scale: 1.0,
    })
}

/// A draft whose tensors have the usual names: with stored factors of RoPE's frequencies, and with
/// the biases that the first layer has, if they are there. `own` are the other tensors a network
/// can do without that this one has.
pub(crate) fn draft(
    family: &'static str,
    basics: &Basics,
    spec: ModelSpec,
    names: &dyn Names,
    own: &[Role],
    locate: Locate,
) -> Draft {
    const FACTORS: &str = "rope_freqs.weight";
    let factors = || Selection::vector(FACTORS.into(), basics.rope.dim as usize / 2);
    let mut optional = own.to_vec();
    optional.extend(BIASES.into_iter().filter(|role| {
        let name = format!("blk.0.{}", part(*role));
        !own.contains(role) && names.shape(&name).is_some()
    }));
    Draft {
        family,
        spec,
        head: basics.head,
        frequencies: basics.rope.frequencies(),
        frequency_divisors: names.shape(FACTORS).map(|_| factors()),
        optional,
        locate,
    }
}

/// Where tensors are under their usual names, in a network of `experts` experts in a layer.
pub(crate) fn locate(names: &dyn Names, pairs: Pairs, experts: u32) -> Locate {
    let stored = Stored::new(names, pairs, experts);
    Box::new(move |slot| stored.source(slot))
}

/// How a file with the usual names stores what can be stored in several ways.
pub(crate) struct Stored {
    pairs: Pairs,
    /// Experts in a layer.
    experts: u32,
    /// Layers whose experts have a tensor each: files from before experts were joined (llama.cpp
    /// pull request 6505).
    apart: HashSet<u32>,
    /// Layers whose experts have gate's rows and up's in one tensor (llama.cpp pull request
    /// 19139).
    fused: HashSet<u32>,
}

impl Stored {
    pub fn new(names: &dyn Names, pairs: Pairs, experts: u32) -> Self {
        let (mut apart, mut fused) = (HashSet::new(), HashSet::new());
        for name in names.names() {
            let Some((layer, part)) =
                name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'))
            else {
                continue;
            };
            let Ok(layer) = layer.parse() else { continue };
            match part {
                "ffn_gate.0.weight" => apart.insert(layer),
                "ffn_gate_up_exps.weight" => fused.insert(layer),
                _ => false,
            };
        }
        Self { pairs, experts, apart, fused }
    }

    /// A tensor under its usual name.
    pub fn source(&self, slot: &Slot) -> Source {
        if let Place::Expert(layer, expert) = slot.place {
            return self.expert(slot, layer, expert);
        }
        let turned = matches!(slot.role, Role::Query | Role::Key | Role::QueryBias | Role::KeyBias);
        match self.pairs {
            Pairs::SideBySide { head_dim } if turned => Source::Stored(
                whole(name(slot), slot).turned(head_dim as usize, 0, head_dim as usize),
            ),
            _ => plain(name(slot), slot),
        }
    }

    fn expert(&self, slot: &Slot, layer: u32, expert: u32) -> Source {
        let (stem, ending) = part(slot.role).split_once('.').unwrap_or((part(slot.role), "weight"));
        if self.apart.contains(&layer) {
            return plain(format!("blk.{layer}.{stem}.{expert}.{ending}"), slot);
        }
        let (expert, count) = (expert as usize, self.experts as usize);
        let (rows, columns) = (slot.rows as usize, slot.columns as usize);
        // Gate's rows come first, then up's.
        let half = match slot.role {
            Role::Gated | Role::GatedBias => Some(0),
            Role::Up | Role::UpBias => Some(1),
            _ => None,
        };
        let half = half.filter(|_| self.fused.contains(&layer));
        let stem = if half.is_some() { "ffn_gate_up" } else { stem };
        let name = format!("blk.{layer}.{stem}_exps.{ending}");
        Source::Stored(match (ending, half) {
            ("bias", None) => Selection::row_of(name, expert, count, columns),
            ("bias", Some(half)) => Selection::row_of(name, expert, count, 2 * columns)
                .every_column(half * columns, 1, columns),
            (_, None) => Selection::one_of(name, expert, count, rows, columns),
            (_, Some(half)) => Selection::one_of(name, expert, count, 2 * rows, columns).every_row(
                half * rows,
                1,
                rows,
            ),
        })
    }
}

/// The usual name of a tensor that is not an expert's.
pub(crate) fn name(slot: &Slot) -> String {
    let part = part(slot.role);
    match slot.place {
        Place::Globals => part.into(),
        Place::Layer(layer) => format!("blk.{layer}.{part}"),
        Place::Shared(layer) | Place::Expert(layer, _) => {
            let (stem, ending) = part.split_once('.').unwrap_or((part, "weight"));
            format!("blk.{layer}.{stem}_shexp.{ending}")
        }
    }
}

fn part(role: Role) -> &'static str {
    match role {
        Role::Embedding => "token_embd.weight",
        Role::FinalNorm => "output_norm.weight",
        Role::Head => "output.weight",
        Role::RopeFrequencies => "rope_freqs.weight",
        Role::AttentionNorm => "attn_norm.weight",
        Role::Query => "attn_q.weight",
        Role::Key => "attn_k.weight",
        Role::Value => "attn_v.weight",
        Role::Output => "attn_output.weight",
        Role::QueryBias => "attn_q.bias",
        Role::KeyBias => "attn_k.bias",
        Role::ValueBias => "attn_v.bias",
        Role::OutputBias => "attn_output.bias",
        Role::QueryNorm => "attn_q_norm.weight",
        Role::KeyNorm => "attn_k_norm.weight",
        Role::Sinks => "attn_sinks.weight",
        Role::QueryDown => "attn_q_a.weight",
        Role::QueryDownNorm => "attn_q_a_norm.weight",
        Role::KeyValueDown => "attn_kv_a_mqa.weight",
        Role::KeyValueNorm => "attn_kv_a_norm.weight",
        Role::KeyUp => "attn_k_b.weight",
        Role::ValueUp => "attn_v_b.weight",
        Role::FeedForwardNorm => "ffn_norm.weight",
        Role::Router => "ffn_gate_inp.weight",
        Role::RouterBias => "ffn_gate_inp.bias",
        Role::Gated => "ffn_gate.weight",
        Role::Up => "ffn_up.weight",
        Role::Down => "ffn_down.weight",
        Role::GatedBias => "ffn_gate.bias",
        Role::UpBias => "ffn_up.bias",
        Role::DownBias => "ffn_down.bias",
        Role::SharedGate => "ffn_gate_inp_shexp.weight",
    }
}
