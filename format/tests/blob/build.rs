//! Whole blobs for tests: a small mixture of experts, and any list of sections written through
//! `Layout`.
//!
//! The fuzz targets share this file and `seal.rs`, so it uses nothing but `hardtack_format` and
//! `blake3`.

use hardtack_format::spec::*;
use hardtack_format::{
    Encoding, Layout, ModelSpec, Role, SectionKey, SectionKind, SectionPlan, TensorPlan,
};

/// The blob that the attack files change: 2 layers x 3 experts, one layer of each kind of
/// attention.
pub fn sample() -> Vec<u8> {
    let spec = sample_spec().to_bytes();
    let content = |key: SectionKey| match key.kind {
        SectionKind::Spec => spec.clone(),
        SectionKind::Tokenizer => b"{\"model\":{}}".to_vec(),
        SectionKind::Template => b"{{ messages }}".to_vec(),
        _ => b"{}".to_vec(),
    };
    let mut plans: Vec<SectionPlan> =
        [SectionKind::Spec, SectionKind::Tokenizer, SectionKind::Template, SectionKind::Provenance]
            .map(|kind| {
                let key = SectionKey::only(kind);
                SectionPlan::Plain { key, bytes: content(key).len() as u64 }
            })
            .to_vec();
    plans.extend(weights(&sample_spec(), Optional::Present));
    write(&plans, content)
}

/// The network of [`sample`].
pub fn sample_spec() -> ModelSpec {
    let grouped = AttentionSpec {
        heads: 2,
        score_scale: 0.25,
        window: 8,
        rope_dim: 8,
        rope_scale: 1.0,
        kind: AttentionKind::Grouped { kv_heads: 1, head_dim: 16, norm: HeadNorm::PerHead },
    };
    let latent = AttentionSpec {
        window: 0,
        kind: AttentionKind::Latent { query_rank: 8, kv_rank: 16, nope_dim: 8, value_dim: 12 },
        ..grouped
    };
    let experts = ExpertsSpec {
        count: 3,
        chosen: 2,
        inner: 24,
        shared_inner: 0,
        router: RouterKind::SoftmaxChosen,
        routed_scale: 1.0,
    };
    let shared = ExpertsSpec {
        shared_inner: 16,
        router: RouterKind::SoftmaxAll,
        routed_scale: 2.5,
        ..experts
    };
    let clamped = Activation::ClampedSwiglu { alpha: 1.702, limit: 7.0 };
    ModelSpec {
        vocabulary: 40,
        hidden: 32,
        context_max: 512,
        norm_epsilon: 1e-6,
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_scale: 1.0,
        layers: vec![
            LayerSpec {
                attention: grouped,
                feed_forward: FeedForwardSpec {
                    activation: Activation::Silu,
                    kind: FeedForwardKind::Experts(experts),
                },
            },
            LayerSpec {
                attention: latent,
                feed_forward: FeedForwardSpec {
                    activation: clamped,
                    kind: FeedForwardKind::Experts(shared),
                },
            },
        ],
    }
}

/// Whether tensors that a network may have or not are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optional {
    /// All of them.
    Present,
    /// None of them.
    Absent,
}

/// Writes a blob: plain sections with the content given, weights with noise, padding with zeros.
pub fn write(plans: &[SectionPlan], content: impl Fn(SectionKey) -> Vec<u8>) -> Vec<u8> {
    let layout = Layout::new(plans).expect("a valid layout");
    let mut file = vec![0; layout.file_bytes() as usize];
    let mut noise = 1_u64;
    let mut hashes = Vec::new();
    for section in layout.sections() {
        let place = section.offset as usize..(section.offset + section.bytes) as usize;
        if section.tensor_count == 0 {
            file[place.clone()].copy_from_slice(&content(section.key));
        }
        for (_, tensor) in layout.tensors(section) {
            for byte in &mut file[tensor.offset as usize..(tensor.offset + tensor.bytes) as usize] {
                // Knuth's MMIX generator; its upper bits are the good ones.
                noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                *byte = (noise >> 56) as u8;
            }
        }
        hashes.push(*blake3::hash(&file[place]).as_bytes());
    }
    let head = layout.head(&hashes);
    file[..head.len()].copy_from_slice(&head);
    file
}

/// The sections of a network's weights.
pub fn weights(spec: &ModelSpec, optional: Optional) -> Vec<SectionPlan> {
    let mut globals = Section::new(SectionKey::only(SectionKind::Globals), optional);
    globals.matrix(Role::Embedding, Encoding::Q8, [1, spec.vocabulary, spec.hidden]);
    globals.vector(Role::FinalNorm, spec.hidden);
    if optional == Optional::Present {
        globals.matrix(Role::Head, Encoding::Q6, [1, spec.vocabulary, spec.hidden]);
    }
    let rope_dim = spec.layers.iter().map(|layer| layer.attention.rope_dim).max().unwrap_or(0);
    if rope_dim > 0 {
        globals.vector(Role::RopeFrequencies, rope_dim / 2);
    }
    let mut plans = vec![globals.finish()];
    for (index, layer) in spec.layers.iter().enumerate() {
        plans.push(layer_section(index as u32, layer, spec.hidden, optional));
    }
    for (index, layer) in spec.layers.iter().enumerate() {
        for expert in 0..layer.feed_forward.experts().map_or(0, |experts| experts.count) {
            let mut section = Section::new(SectionKey::expert(index as u32, expert), optional);
            section.block(
                layer.feed_forward.experts().map_or(0, |experts| experts.inner),
                spec.hidden,
            );
            plans.push(section.finish());
        }
    }
    plans
}

fn layer_section(index: u32, layer: &LayerSpec, hidden: u32, optional: Optional) -> SectionPlan {
    let mut section = Section::new(SectionKey::layer(index), optional);
    section.vector(Role::AttentionNorm, hidden);
    section.attention(&layer.attention, hidden);
    section.vector(Role::FeedForwardNorm, hidden);
    match &layer.feed_forward.kind {
        FeedForwardKind::Dense { inner } => section.block(*inner, hidden),
        FeedForwardKind::Experts(experts) => {
            section.matrix(Role::Router, Encoding::F32, [1, experts.count, hidden]);
            section.optional_vector(Role::RouterBias, experts.count);
            section.optional_vector(Role::SharedGate, hidden);
            if experts.shared_inner > 0 {
                section.block(experts.shared_inner, hidden);
            }
        }
    }
    section.finish()
}

struct Section {
    key: SectionKey,
    optional: Optional,
    tensors: Vec<TensorPlan>,
}

impl Section {
    fn new(key: SectionKey, optional: Optional) -> Self {
        Self { key, optional, tensors: Vec::new() }
    }

    fn matrix(&mut self, role: Role, encoding: Encoding, [stack, rows, columns]: [u32; 3]) {
        self.tensors.push(TensorPlan { role, encoding, stack, rows, columns });
    }

    fn vector(&mut self, role: Role, length: u32) {
        self.matrix(role, Encoding::Plain, [1, 1, length]);
    }

    fn optional_vector(&mut self, role: Role, length: u32) {
        if self.optional == Optional::Present {
            self.vector(role, length);
        }
    }

    fn attention(&mut self, attention: &AttentionSpec, hidden: u32) {
        let heads = attention.heads;
        match attention.kind {
            AttentionKind::Grouped { kv_heads, head_dim, norm } => {
                let (query_rows, key_rows) = (heads * head_dim, kv_heads * head_dim);
                self.matrix(Role::Query, Encoding::F32, [1, query_rows, hidden]);
                self.matrix(Role::Key, Encoding::F16, [1, key_rows, hidden]);
                self.matrix(Role::Value, Encoding::Bf16, [1, key_rows, hidden]);
                self.matrix(Role::Output, Encoding::Q5, [1, hidden, query_rows]);
                self.optional_vector(Role::QueryBias, query_rows);
                self.optional_vector(Role::KeyBias, key_rows);
                self.optional_vector(Role::ValueBias, key_rows);
                self.optional_vector(Role::OutputBias, hidden);
                self.optional_vector(Role::Sinks, heads);
                let lengths = match norm {
                    HeadNorm::None => return,
                    HeadNorm::PerHead => [head_dim; 2],
                    HeadNorm::Whole => [query_rows, key_rows],
                };
                self.vector(Role::QueryNorm, lengths[0]);
                self.vector(Role::KeyNorm, lengths[1]);
            }
            AttentionKind::Latent { query_rank, kv_rank, nope_dim, value_dim } => {
                let query_columns = if query_rank == 0 { hidden } else { query_rank };
                if query_rank > 0 {
                    self.matrix(Role::QueryDown, Encoding::Q4, [1, query_rank, hidden]);
                    self.vector(Role::QueryDownNorm, query_rank);
                }
                self.matrix(
                    Role::Query,
                    Encoding::Q4,
                    [1, heads * (nope_dim + attention.rope_dim), query_columns],
                );
                self.matrix(Role::Output, Encoding::Q4, [1, hidden, heads * value_dim]);
                self.matrix(
                    Role::KeyValueDown,
                    Encoding::Q4,
                    [1, kv_rank + attention.rope_dim, hidden],
                );
                self.vector(Role::KeyValueNorm, kv_rank);
                self.matrix(Role::KeyUp, Encoding::Q8, [heads, kv_rank, nope_dim]);
                self.matrix(Role::ValueUp, Encoding::Q8, [heads, value_dim, kv_rank]);
            }
        }
    }

    fn block(&mut self, inner: u32, hidden: u32) {
        self.matrix(Role::Gated, Encoding::Q2, [1, inner, hidden]);
        self.matrix(Role::Up, Encoding::Q3, [1, inner, hidden]);
        self.matrix(Role::Down, Encoding::Q4, [1, hidden, inner]);
        self.optional_vector(Role::GatedBias, inner);
        self.optional_vector(Role::UpBias, inner);
        self.optional_vector(Role::DownBias, hidden);
    }

    fn finish(mut self) -> SectionPlan {
        self.tensors.sort_by_key(|tensor| tensor.role);
        SectionPlan::Tensors { key: self.key, tensors: self.tensors }
    }
}
