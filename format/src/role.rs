//! What a section or a tensor is for. The numbers are part of the format and are never reused.

use core::fmt;

/// The kind of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum SectionKind {
    /// The network as numbers and flags: [`crate::ModelSpec`].
    Spec = 1,
    /// A `tokenizer.json`: text to ids.
    Tokenizer = 2,
    /// The byte table: ids to text, and which ids end a text.
    Vocabulary = 3,
    /// The chat template.
    Template = 4,
    /// What was baked from what, and how: JSON for people.
    Provenance = 5,
    /// What bits of cached keys and values cost: [`crate::KvPolicy`].
    KvPolicy = 6,
    /// Weights outside the layers.
    Globals = 16,
    /// Weights of one layer that every token reads.
    Layer = 17,
    /// One expert: gate, up and down together.
    Expert = 18,
}

impl SectionKind {
    /// The kind with this number.
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Spec,
            2 => Self::Tokenizer,
            3 => Self::Vocabulary,
            4 => Self::Template,
            5 => Self::Provenance,
            6 => Self::KvPolicy,
            16 => Self::Globals,
            17 => Self::Layer,
            18 => Self::Expert,
            _ => return None,
        })
    }

    /// Whether sections of this kind hold tensors.
    pub const fn has_tensors(self) -> bool {
        matches!(self, Self::Globals | Self::Layer | Self::Expert)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Tokenizer => "tokenizer",
            Self::Vocabulary => "vocabulary",
            Self::Template => "template",
            Self::Provenance => "provenance",
            Self::KvPolicy => "kv_policy",
            Self::Globals => "globals",
            Self::Layer => "layer",
            Self::Expert => "expert",
        }
    }
}

/// What distinguishes one section from another: sections are in ascending order of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SectionKey {
    /// Its kind.
    pub kind: SectionKind,
    /// Its layer, 0 where layers mean nothing.
    pub layer: u32,
    /// Its expert, 0 where experts mean nothing.
    pub expert: u32,
}

impl SectionKey {
    /// A section of which a blob has one.
    pub const fn only(kind: SectionKind) -> Self {
        Self { kind, layer: 0, expert: 0 }
    }

    /// The weights of a layer that every token reads.
    pub const fn layer(layer: u32) -> Self {
        Self { kind: SectionKind::Layer, layer, expert: 0 }
    }

    /// One expert of a layer.
    pub const fn expert(layer: u32, expert: u32) -> Self {
        Self { kind: SectionKind::Expert, layer, expert }
    }
}

impl fmt::Display for SectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            SectionKind::Layer => write!(f, "layer {}", self.layer),
            SectionKind::Expert => write!(f, "layer {} expert {}", self.layer, self.expert),
            kind => f.write_str(kind.name()),
        }
    }
}

macro_rules! roles {
    // One line each: `/// doc  Name = number, "name";` becomes a variant, an arm of `from_number`
    // and one of `name`.
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// What a tensor is for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Role { $($(#[$doc])* $variant = $number,)* }

        impl Role {
            /// The role with this number.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

roles! {
    /// Token embeddings `[vocabulary, hidden]`; also the head where there is none of its own.
    Embedding = 1, "embedding";
    /// Gain of the last normalization `[hidden]`.
    FinalNorm = 2, "final_norm";
    /// Output head `[vocabulary, hidden]`.
    Head = 3, "head";
    /// RoPE's angular frequencies `[rope_dim / 2]`, radians per position.
    RopeFrequencies = 4, "rope_frequencies";

    /// Gain of the normalization before attention `[hidden]`.
    AttentionNorm = 16, "attention_norm";
    /// Query projection `[heads * head_dim, hidden]`; latent without a query rank:
    /// `[heads * (nope + rope), hidden]`.
    Query = 17, "query";
    /// Key projection `[kv_heads * head_dim, hidden]`.
    Key = 18, "key";
    /// Value projection `[kv_heads * head_dim, hidden]`.
    Value = 19, "value";
    /// Output projection `[hidden, heads * head_dim]` (latent: `heads * value_dim` columns).
    Output = 20, "output";
    /// Bias of the query projection.
    QueryBias = 21, "query_bias";
    /// Bias of the key projection.
    KeyBias = 22, "key_bias";
    /// Bias of the value projection.
    ValueBias = 23, "value_bias";
    /// Bias of the output projection.
    OutputBias = 24, "output_bias";
    /// Gain of the query normalization, `[head_dim]` or `[heads * head_dim]`.
    QueryNorm = 25, "query_norm";
    /// Gain of the key normalization, `[head_dim]` or `[kv_heads * head_dim]`.
    KeyNorm = 26, "key_norm";
    /// One logit per head for "attend to nothing" `[heads]`.
    Sinks = 27, "sinks";
    /// Latent attention: query down-projection `[query_rank, hidden]`.
    QueryDown = 28, "query_down";
    /// Latent attention: gain of the normalization between the query projections `[query_rank]`.
    QueryDownNorm = 29, "query_down_norm";
    /// Latent attention: projection to the latent and the shared rotated key,
    /// `[kv_rank + rope, hidden]`.
    KeyValueDown = 30, "key_value_down";
    /// Latent attention: gain of the latent's normalization `[kv_rank]`.
    KeyValueNorm = 31, "key_value_norm";
    /// Latent attention: per head, the key up-projection transposed `[heads] x [kv_rank, nope]`.
    KeyUp = 32, "key_up";
    /// Latent attention: per head, the value up-projection `[heads] x [value_dim, kv_rank]`.
    ValueUp = 33, "value_up";

    /// Gain of the normalization before the feed-forward block `[hidden]`.
    FeedForwardNorm = 48, "feed_forward_norm";
    /// The router of a mixture: a logit for each expert `[experts, hidden]`.
    Router = 49, "gate";
    /// Bias of the router `[experts]`.
    RouterBias = 50, "gate_bias";
    /// Gate projection of an expert, a shared expert or a dense block `[inner, hidden]`.
    Gated = 51, "gated";
    /// Up projection `[inner, hidden]`.
    Up = 52, "up";
    /// Down projection `[hidden, inner]`.
    Down = 53, "down";
    /// Bias of the gate projection.
    GatedBias = 54, "gated_bias";
    /// Bias of the up projection.
    UpBias = 55, "up_bias";
    /// Bias of the down projection.
    DownBias = 56, "down_bias";
    /// The shared expert's own gate `[1, hidden]`, through a sigmoid.
    SharedGate = 57, "shared_gate";
}

impl Role {
    /// Whether tensors of this role are matrices, in any encoding but plain. All others are plain
    /// vectors.
    pub const fn is_matrix(self) -> bool {
        use Role::*;
        matches!(
            self,
            Embedding
                | Head
                | Query
                | Key
                | Value
                | Output
                | QueryDown
                | KeyValueDown
                | KeyUp
                | ValueUp
                | Router
                | Gated
                | Up
                | Down
        )
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
