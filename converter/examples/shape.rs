//! Writes a blob of a published model's shape with random codes in no more time than the disk
//! takes, for measuring speed.
//!
//! ```text
//! cargo run --release --workspace --example shape -- olmoe|granite EXPERT_BITS ATTENTION_BITS OUTPUT.tack
//! ```
//!
//! `EXPERT_BITS` may lie between two numbers: 2.5 means 3 bits for every second expert and 2 for
//! the others. Embeddings and head have 6 bits. It has no tokenizer: `bench` needs none.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use half::f16;
use hardtack_format::encoding::{PANEL_ROWS, TILE_HEAD_BYTES};
use hardtack_format::{Encoding, Layout, Role, SectionKey, SectionKind, SectionPlan, TensorPlan};
use hardtack_models::{Names, Settings, Source, TensorSource, recipe};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [shape, experts, attention, output] = &arguments[..] else {
        return Err("expected olmoe|granite EXPERT_BITS ATTENTION_BITS OUTPUT".into());
    };
    let (experts, attention): (f64, u32) = (experts.parse()?, attention.parse()?);
    let (config, shapes) = match shape.as_str() {
        "olmoe" => olmoe(),
        "granite" => granite(),
        other => return Err(format!("{other} is no shape that is known: olmoe, granite").into()),
    };
    let recipe = recipe(Settings::HuggingFace(&config), &Shapes(shapes))?;

    let encoding = |key: SectionKey, source: &TensorSource| -> Result<Encoding, String> {
        if source.is_vector() {
            return Ok(Encoding::Plain);
        }
        let bits = match (key.kind, source.role) {
            (_, Role::Router) => return Ok(Encoding::F32),
            // As many of the higher number as the fraction says, evenly among the experts.
            (SectionKind::Expert, _) => {
                let at = f64::from(key.expert);
                (experts + ((at + 1.0) * experts.fract()).floor()
                    - (at * experts.fract()).floor()
                    - experts.fract()) as u32
            }
            (SectionKind::Layer, _) => attention,
            _ => 6,
        };
        let wanted =
            Encoding::MATRICES.into_iter().find(|encoding| encoding.code_bits() == Some(bits));
        wanted.ok_or_else(|| format!("no encoding has {bits} bits"))
    };
    let mut sections = vec![(SectionKey::only(SectionKind::Globals), &recipe.globals)];
    sections.extend(
        (0..).zip(&recipe.layers).map(|(layer, own)| (SectionKey::layer(layer), &own.tensors)),
    );
    for (layer, own) in (0..).zip(&recipe.layers) {
        sections.extend(
            (0..).zip(&own.experts).map(|(expert, own)| (SectionKey::expert(layer, expert), own)),
        );
    }
    let spec = recipe.spec.to_bytes();
    let mut plans = vec![SectionPlan::Plain {
        key: SectionKey::only(SectionKind::Spec),
        bytes: spec.len() as u64,
    }];
    for (key, sources) in &sections {
        let tensors = sources.iter().map(|source| {
            let &TensorSource { role, stack, rows, columns, .. } = source;
            Ok(TensorPlan { role, encoding: encoding(*key, source)?, stack, rows, columns })
        });
        plans.push(SectionPlan::Tensors {
            key: *key,
            tensors: tensors.collect::<Result<_, String>>()?,
        });
    }

    let layout = Layout::new(&plans)?;
    let mut file = File::create(output)?;
    file.set_len(layout.file_bytes())?;
    let mut random = Random(1);
    let mut hashes = Vec::new();
    let mut put = |offset: u64, bytes: &[u8]| -> std::io::Result<()> {
        hashes.push(*blake3::hash(bytes).as_bytes());
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    };
    put(layout.sections()[0].offset, &spec)?;
    for ((_, sources), record) in sections.iter().zip(&layout.sections()[1..]) {
        let mut bytes = vec![0; record.bytes as usize];
        for (source, (_, tensor)) in sources.iter().zip(layout.tensors(record)) {
            let start = (tensor.offset - record.offset) as usize;
            fill(
                source,
                tensor.encoding,
                &mut bytes[start..start + tensor.bytes as usize],
                &mut random,
            );
        }
        put(record.offset, &bytes)?;
    }
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&layout.head(&hashes))?;
    file.sync_all()?;
    println!("{output}: {} bytes", layout.file_bytes());
    Ok(())
}

/// Random weights of about the size that keeps a stream as large as it was.
fn fill(source: &TensorSource, encoding: Encoding, out: &mut [u8], random: &mut Random) {
    match (&source.value, encoding.code_bits()) {
        (Source::Literal(values), _) => {
            out.as_chunks_mut()
                .0
                .iter_mut()
                .zip(values)
                .for_each(|(out, value)| *out = value.to_le_bytes());
        }
        (_, None) if source.is_vector() => out.as_chunks_mut().0.fill(1f32.to_le_bytes()),
        (_, None) => {
            let float = |random: &mut Random| (random.next() >> 40) as f32 / (1 << 24) as f32 - 0.5;
            out.as_chunks_mut()
                .0
                .iter_mut()
                .for_each(|out| *out = (0.1 * float(random)).to_le_bytes());
        }
        (_, Some(bits)) => {
            out.as_chunks_mut().0.iter_mut().for_each(|out| *out = random.next().to_le_bytes());
            let codes = (1u32 << bits) as f32;
            let scale = (12.0 / source.columns as f32).sqrt() / codes;
            let (scale, minimum) =
                (f16::from_f32(scale), f16::from_f32(-scale * (codes - 1.0) / 2.0));
            for tile in out.chunks_exact_mut(encoding.tile_bytes()) {
                let (scales, minima) = tile[..TILE_HEAD_BYTES].split_at_mut(PANEL_ROWS * 2);
                scales.as_chunks_mut().0.fill(scale.to_le_bytes());
                minima.as_chunks_mut().0.fill(minimum.to_le_bytes());
            }
        }
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

struct Shapes(HashMap<String, Vec<usize>>);

impl Names for Shapes {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.get(name).cloned()
    }
}

/// OLMoE-1B-7B.
fn olmoe() -> (Value, HashMap<String, Vec<usize>>) {
    let config = json!({
        "architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "hidden_size": 2048, "intermediate_size": 1024,
        "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 16, "num_experts": 64,
        "num_experts_per_tok": 8, "norm_topk_prob": false, "vocab_size": 50304, "tie_word_embeddings": false,
        "max_position_embeddings": 16384, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "attention_bias": false,
    });
    let mut shapes = attention(16, 2048, 2048, 2048);
    shapes.insert("lm_head.weight".to_owned(), vec![50304, 2048]);
    shapes.insert("model.embed_tokens.weight".to_owned(), vec![50304, 2048]);
    for layer in 0..16 {
        let mut add = |name: &str, shape: &[usize]| {
            shapes.insert(format!("model.layers.{layer}.{name}.weight"), shape.to_vec());
        };
        add("self_attn.q_norm", &[2048]);
        add("self_attn.k_norm", &[2048]);
        add("mlp.gate", &[64, 2048]);
        for expert in 0..64 {
            add(&format!("mlp.experts.{expert}.gate_proj"), &[1024, 2048]);
            add(&format!("mlp.experts.{expert}.up_proj"), &[1024, 2048]);
            add(&format!("mlp.experts.{expert}.down_proj"), &[2048, 1024]);
        }
    }
    (config, shapes)
}

/// Granite-3.0-1B-A400M.
fn granite() -> (Value, HashMap<String, Vec<usize>>) {
    let config = json!({
        "architectures": ["GraniteMoeForCausalLM"], "model_type": "granitemoe", "hidden_size": 1024,
        "intermediate_size": 512, "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 8,
        "num_local_experts": 32, "num_experts_per_tok": 8, "vocab_size": 49155, "tie_word_embeddings": true,
        "max_position_embeddings": 16384, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu",
        "attention_bias": false, "attention_multiplier": 0.015625, "embedding_multiplier": 12.0,
        "logits_scaling": 6.0, "residual_multiplier": 0.22,
    });
    let mut shapes = attention(24, 1024, 1024, 512);
    shapes.insert("model.embed_tokens.weight".to_owned(), vec![49155, 1024]);
    for layer in 0..24 {
        let mut add = |name: &str, shape: &[usize]| {
            shapes.insert(
                format!("model.layers.{layer}.block_sparse_moe.{name}.weight"),
                shape.to_vec(),
            );
        };
        add("router.layer", &[32, 1024]);
        add("input_linear", &[32, 1024, 1024]);
        add("output_linear", &[32, 1024, 512]);
    }
    (config, shapes)
}

/// What every layer has but its experts, and the last norm.
fn attention(
    layers: usize,
    hidden: usize,
    queries: usize,
    keys: usize,
) -> HashMap<String, Vec<usize>> {
    let mut shapes = HashMap::from([("model.norm.weight".to_owned(), vec![hidden])]);
    for layer in 0..layers {
        for (name, shape) in [
            ("input_layernorm", vec![hidden]),
            ("post_attention_layernorm", vec![hidden]),
            ("self_attn.q_proj", vec![queries, hidden]),
            ("self_attn.k_proj", vec![keys, hidden]),
            ("self_attn.v_proj", vec![keys, hidden]),
            ("self_attn.o_proj", vec![hidden, queries]),
        ] {
            shapes.insert(format!("model.layers.{layer}.{name}.weight"), shape);
        }
    }
    shapes
}
