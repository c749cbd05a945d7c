//! What a bake chooses: the encoding of every part of a network.

use hardtack_format::spec::ModelSpec;
use hardtack_format::{Encoding, Role, SectionKey, SectionKind};

/// The encodings of one blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Of the embeddings.
    pub embedding: Encoding,
    /// Of the head, where it is a matrix of its own.
    pub head: Encoding,
    /// Of the layers, first to last.
    pub layers: Vec<LayerAssignment>,
}

/// The encodings of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerAssignment {
    /// Of its attention's matrices.
    pub attention: Encoding,
    /// Of the block that every token goes through, dense or shared.
    pub common: Encoding,
    /// Of the routed experts.
    pub experts: Vec<Encoding>,
}

/// A part of a network that has one encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The embeddings; the head too where it has no matrix of its own.
    Embedding,
    /// The head.
    Head,
    /// A layer's attention.
    Attention(usize),
    /// The block of a layer that every token goes through.
    Common(usize),
    /// A routed expert, by layer and number.
    Expert(usize, usize),
}

impl Part {
    /// Whose matrix it is; none for routers. They stay floats: every later step of a token depends
    /// on them, and they are small.
    pub fn of(section: SectionKey, role: Role) -> Option<Self> {
        let layer = section.layer as usize;
        match (section.kind, role) {
            (_, Role::Router) => None,
            (SectionKind::Expert, _) => Some(Self::Expert(layer, section.expert as usize)),
            (SectionKind::Layer, Role::Gated | Role::Up | Role::Down) => Some(Self::Common(layer)),
            (SectionKind::Layer, _) => Some(Self::Attention(layer)),
            (_, Role::Head) => Some(Self::Head),
            _ => Some(Self::Embedding),
        }
    }

    /// The part that represents all whose errors go the same way through the network: the first
    /// expert for those of its layer.
    #[must_use]
    pub fn group(self) -> Self {
        match self {
            Self::Expert(layer, _) => Self::Expert(layer, 0),
            own => own,
        }
    }

    /// How many of a model's layers come before a part.
    #[must_use]
    pub fn depth(self, layers: usize) -> usize {
        match self {
            Self::Embedding => 0,
            Self::Head => layers,
            Self::Attention(layer) | Self::Common(layer) | Self::Expert(layer, _) => layer,
        }
    }

    /// What is in the group of a part.
    pub fn group_name(self) -> String {
        match self {
            Self::Embedding => "embeddings".to_owned(),
            Self::Head => "head".to_owned(),
            Self::Attention(layer) => format!("attention of layer {layer}"),
            Self::Common(layer) => format!("common block of layer {layer}"),
            Self::Expert(layer, _) => format!("experts of layer {layer}"),
        }
    }
}

impl Assignment {
    /// The same encoding for all matrices of the layers. Every token depends on embeddings and
    /// head: without a `head` they get 6 bits at least.
    pub fn uniform(spec: &ModelSpec, layers: Encoding, head: Option<Encoding>) -> Self {
        let least = match layers.code_bits() {
            Some(bits) if bits < 6 => Encoding::Q6,
            _ => layers,
        };
        let head = head.unwrap_or(least);
        let layer = |experts: usize| LayerAssignment {
            attention: layers,
            common: layers,
            experts: vec![layers; experts],
        };
        let experts = spec
            .layers
            .iter()
            .map(|layer| layer.feed_forward.experts().map_or(0, |own| own.count as usize));
        Self { embedding: head, head, layers: experts.map(layer).collect() }
    }

    /// The encoding of a matrix.
    pub fn of(&self, section: SectionKey, role: Role) -> Encoding {
        Part::of(section, role).map_or(Encoding::F32, |part| self.part(part))
    }

    /// The encoding of a part.
    pub fn part(&self, part: Part) -> Encoding {
        match part {
            Part::Embedding => self.embedding,
            Part::Head => self.head,
            Part::Attention(layer) => self.layers[layer].attention,
            Part::Common(layer) => self.layers[layer].common,
            Part::Expert(layer, expert) => self.layers[layer].experts[expert],
        }
    }

    /// Feeds all of it to a hash, in a form that stays the same however this type is written down.
    #[cfg(feature = "calibrate")]
    pub(crate) fn hash(&self, hasher: &mut blake3::Hasher) {
        let mut number = |number: u64| {
            hasher.update(&number.to_le_bytes());
        };
        number(self.embedding as u64);
        number(self.head as u64);
        number(self.layers.len() as u64);
        for layer in &self.layers {
            number(layer.attention as u64);
            number(layer.common as u64);
            number(layer.experts.len() as u64);
            layer.experts.iter().for_each(|encoding| number(*encoding as u64));
        }
    }

    /// Changes the encoding of a part.
    pub fn set(&mut self, part: Part, encoding: Encoding) {
        *match part {
            Part::Embedding => &mut self.embedding,
            Part::Head => &mut self.head,
            Part::Attention(layer) => &mut self.layers[layer].attention,
            Part::Common(layer) => &mut self.layers[layer].common,
            Part::Expert(layer, expert) => &mut self.layers[layer].experts[expert],
        } = encoding;
    }

    /// The encoding of the layers' matrices, or that they have several.
    pub fn layers_name(&self) -> &'static str {
        let parts = |layer: &LayerAssignment| {
            [layer.attention, layer.common].into_iter().chain(layer.experts.clone())
        };
        let mut all = self.layers.iter().flat_map(parts);
        match all.next() {
            Some(first) if all.all(|own| own == first) => first.name(),
            Some(_) => "mixed",
            None => "none",
        }
    }

    /// Mean bits of the routed experts' codes, each expert counting the same; none without experts
    /// of codes.
    pub fn expert_bits(&self) -> Option<f64> {
        let bits: Vec<u32> = self
            .layers
            .iter()
            .flat_map(|layer| &layer.experts)
            .filter_map(|own| own.code_bits())
            .collect();
        (!bits.is_empty()).then(|| f64::from(bits.iter().sum::<u32>()) / bits.len() as f64)
    }
}
