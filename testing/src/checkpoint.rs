//! Copies of the fixtures that a test may break, and a tokenizer for them that has a token for
//! every byte.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bpe::{self, TEMPLATE, TURN, added, bytes_as_letters};
use crate::fixtures;

/// Rows of the llama fixture's embedding.
pub const VOCABULARY: u32 = 320;

/// A tensor as it will be written.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// A checkpoint in a folder of its own.
pub struct Checkpoint {
    folder: TempDir,
    pub config: Value,
    pub tensors: Vec<Tensor>,
}

impl Checkpoint {
    /// Reads a fixture; nothing is in the folder yet.
    pub fn of(family: &str) -> Option<Self> {
        let source = fixtures()?.join(family);
        let config =
            serde_json::from_slice(&fs::read(source.join("config.json")).unwrap()).unwrap();
        let bytes = fs::read(source.join("model.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let own = |(name, view): (String, TensorView<'_>)| Tensor {
            name,
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        };
        let tensors = tensors.tensors().into_iter().map(own).collect();
        Some(Self { folder: tempfile::tempdir().unwrap(), config, tensors })
    }

    /// A llama made from nothing, whose likeliest token is always a small letter: its answers have
    /// no end of their own.
    pub fn made() -> Self {
        const HIDDEN: usize = 64;
        const INNER: usize = 128;
        const LAYERS: usize = 2;
        let config = json!({
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
            "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": INNER,
            "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 16, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "max_position_embeddings": 512, "tie_word_embeddings": false, "attention_bias": false,
            "mlp_bias": false,
        });
        let mut state = 1u64;
        let mut random = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        let mut tensors = Vec::new();
        let mut add = |name: &str, shape: &[usize], floats: Vec<f32>| {
            let bytes = floats.iter().flat_map(|number| number.to_le_bytes()).collect();
            tensors.push(Tensor {
                name: format!("{name}.weight"),
                dtype: Dtype::F32,
                shape: shape.to_vec(),
                bytes,
            });
        };
        let vocabulary = VOCABULARY as usize;
        add(
            "model.embed_tokens",
            &[vocabulary, HIDDEN],
            (0..vocabulary * HIDDEN).map(&mut random).collect(),
        );
        for layer in 0..LAYERS {
            for (name, rows, columns) in [
                ("self_attn.q_proj", HIDDEN, HIDDEN),
                ("self_attn.k_proj", HIDDEN / 2, HIDDEN),
                ("self_attn.v_proj", HIDDEN / 2, HIDDEN),
                ("self_attn.o_proj", HIDDEN, HIDDEN),
                ("mlp.gate_proj", INNER, HIDDEN),
                ("mlp.up_proj", INNER, HIDDEN),
                ("mlp.down_proj", HIDDEN, INNER),
            ] {
                let floats = (0..rows * columns).map(&mut random).collect();
                add(&format!("model.layers.{layer}.{name}"), &[rows, columns], floats);
            }
            for name in ["input_layernorm", "post_attention_layernorm"] {
                add(&format!("model.layers.{layer}.{name}"), &[HIDDEN], vec![1.0; HIDDEN]);
            }
        }
        add("model.norm", &[HIDDEN], vec![1.0; HIDDEN]);
        let head = (0..vocabulary * HIDDEN).map(|at| {
            let number = random(at);
            // Bytes are their own ids up to `~`: see `tokenizer`.
            let letter = u8::try_from(at / HIDDEN).is_ok_and(|byte| byte.is_ascii_lowercase());
            if letter { number } else { 0.0 }
        });
        add("lm_head", &[vocabulary, HIDDEN], head.collect());
        Self { folder: tempfile::tempdir().unwrap(), config, tensors }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors
            .iter_mut()
            .find(|tensor| tensor.name == name)
            .unwrap_or_else(|| panic!("no {name}"))
    }

    /// Overwrites one float of a tensor.
    pub fn set(&mut self, name: &str, index: usize, value: f32) {
        self.tensor(name).bytes[4 * index..][..4].copy_from_slice(&value.to_le_bytes());
    }

    /// Writes config.json and one model.safetensors.
    pub fn save(&self) -> &Self {
        self.save_config();
        write(&self.file("model.safetensors"), &self.tensors);
        self
    }

    /// Writes config.json, two shards, the first with the first `count` tensors, and their index.
    pub fn save_shards(&self, count: usize) -> &Self {
        self.save_config();
        let (first, second) = self.tensors.split_at(count);
        let mut places = serde_json::Map::new();
        for (number, tensors) in [(1, first), (2, second)] {
            let name = format!("model-0000{number}-of-00002.safetensors");
            write(&self.file(&name), tensors);
            places.extend(tensors.iter().map(|tensor| (tensor.name.clone(), json!(name))));
        }
        let index = json!({ "metadata": { "total_size": 0 }, "weight_map": places });
        fs::write(self.file("model.safetensors.index.json"), index.to_string()).unwrap();
        self
    }

    /// Writes a byte-level tokenizer with ChatML's control tokens and template.
    pub fn save_tokenizer(&self) -> &Self {
        fs::write(self.file("tokenizer.json"), tokenizer().to_string()).unwrap();
        let config = json!({ "eos_token": TURN[1], "chat_template": TEMPLATE });
        fs::write(self.file("tokenizer_config.json"), config.to_string()).unwrap();
        self
    }

    fn save_config(&self) {
        fs::write(self.file("config.json"), self.config.to_string()).unwrap();
    }
}

fn write(path: &Path, tensors: &[Tensor]) {
    let views = tensors.iter().map(|tensor| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).unwrap();
        (tensor.name.as_str(), view)
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// A token for every byte, and the two markers, which are in the vocabulary too.
fn tokenizer() -> Value {
    let letters = bytes_as_letters().into_iter().map(String::from);
    let pieces: Vec<String> = letters.chain(TURN.map(String::from)).collect();
    let added: Vec<Value> = (256..).zip(TURN).map(|(id, name)| added(id, name, true)).collect();
    bpe::tokenizer(&pieces, json!([]), &added)
}
