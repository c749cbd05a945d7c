//! A small model made here: a Llama of one layer with weights from a formula, and a tokenizer of
//! 265 pieces, as a folder and as a GGUF file.

use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::bpe::{self, TEMPLATE, added, bytes_as_letters};

const ROWS: usize = 320;
const HIDDEN: usize = 64;
const MERGES: [&str; 9] =
    ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld"];
/// A model before it is written.
pub struct Small {
    pub config: Value,
    pub settings: Value,
    pub tokenizer: Value,
    pub template: Option<String>,
    pub tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

fn pieces() -> Vec<String> {
    let joined = ["he", "ll", "hell", "hello", "Ġw", "or", "Ġwor", "ld", "Ġworld"];
    let letters = bytes_as_letters().into_iter().map(String::from);
    letters.chain(joined.map(String::from)).collect()
}

impl Default for Small {
    fn default() -> Self {
        Self::new()
    }
}

impl Small {
    /// A model in order: ChatML with its markers at 266 and 267, and a head of its own.
    pub fn new() -> Self {
        let marks = [(265, "<|endoftext|>"), (266, "<|im_start|>"), (267, "<|im_end|>")];
        let tensor = |(place, (name, shape)): (usize, (&str, Vec<usize>))| {
            let count: usize = shape.iter().product();
            // Weights of about 0.1 that no two tensors share.
            let value =
                |index: usize| ((index * 7919 + place * 104_729) % 1999) as f32 / 9995.0 - 0.1;
            let norm = name.contains("norm");
            (
                name.to_owned(),
                shape,
                (0..count).map(|index| if norm { 1.0 } else { value(index) }).collect(),
            )
        };
        let tensors = [
            ("model.embed_tokens.weight", vec![ROWS, HIDDEN]),
            ("model.layers.0.input_layernorm.weight", vec![HIDDEN]),
            ("model.layers.0.self_attn.q_proj.weight", vec![HIDDEN, HIDDEN]),
            ("model.layers.0.self_attn.k_proj.weight", vec![HIDDEN, HIDDEN]),
            ("model.layers.0.self_attn.v_proj.weight", vec![HIDDEN, HIDDEN]),
            ("model.layers.0.self_attn.o_proj.weight", vec![HIDDEN, HIDDEN]),
            ("model.layers.0.post_attention_layernorm.weight", vec![HIDDEN]),
            ("model.layers.0.mlp.gate_proj.weight", vec![HIDDEN, HIDDEN]),
            ("model.layers.0.mlp.up_proj.weight", vec![HIDDEN, HIDDEN]),
            ("model.layers.0.mlp.down_proj.weight", vec![HIDDEN, HIDDEN]),
            ("model.norm.weight", vec![HIDDEN]),
            ("lm_head.weight", vec![ROWS, HIDDEN]),
        ];
        Self {
            config: json!({
                "model_type": "llama", "vocab_size": ROWS, "hidden_size": HIDDEN,
                "intermediate_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 1,
                "num_key_value_heads": 1, "head_dim": HIDDEN, "hidden_act": "silu",
                "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
                "tie_word_embeddings": false,
            }),
            settings: json!({ "eos_token": "<|im_end|>" }),
            tokenizer: bpe::tokenizer(
                &pieces(),
                json!(MERGES),
                &marks.map(|(id, name)| added(id, name, true)),
            ),
            template: Some(TEMPLATE.to_owned()),
            tensors: tensors.into_iter().enumerate().map(tensor).collect(),
        }
    }

    /// A tensor's values.
    pub fn tensor(&mut self, name: &str) -> &mut Vec<f32> {
        &mut self
            .tensors
            .iter_mut()
            .find(|(own, ..)| own == name)
            .unwrap_or_else(|| panic!("no {name}"))
            .2
    }

    /// Writes a folder as Hugging Face has it.
    pub fn save(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        self.save_tokenizer(folder);
        fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        let bytes: Vec<(&str, &Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, shape, values)| (name.as_str(), shape, little_endian(values)))
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
        });
        safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    }

    /// Writes only the tokenizer's files.
    pub fn save_tokenizer(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("tokenizer.json"), self.tokenizer.to_string()).unwrap();
        fs::write(folder.join("tokenizer_config.json"), self.settings.to_string()).unwrap();
        if let Some(template) = &self.template {
            fs::write(folder.join("chat_template.jinja"), template).unwrap();
        }
    }

    /// Writes a GGUF file with this pre-tokenizer, these types of `<|im_start|>` and `<|im_end|>`,
    /// with or without merges.
    pub fn save_gguf(&self, path: &Path, pre: &str, types: [i32; 2], merges: bool) {
        let mut file = Gguf::default();
        file.text("general.architecture", "llama");
        let numbers = [
            ("llama.block_count", 1),
            ("llama.embedding_length", HIDDEN as u32),
            ("llama.feed_forward_length", HIDDEN as u32),
            ("llama.attention.head_count", 1),
            ("llama.attention.head_count_kv", 1),
            ("llama.context_length", 512),
            ("tokenizer.ggml.eos_token_id", 267),
        ];
        numbers.iter().for_each(|(key, value)| file.number(key, *value));
        file.float("llama.attention.layer_norm_rms_epsilon", 1e-6);
        file.text("tokenizer.ggml.model", "gpt2");
        file.text("tokenizer.ggml.pre", pre);
        file.text("tokenizer.chat_template", TEMPLATE);
        let marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(String::from);
        let mut tokens: Vec<String> = pieces().into_iter().chain(marks).collect();
        let mut kinds: Vec<i32> = [1; 265].into_iter().chain([3]).chain(types).collect();
        for id in tokens.len()..ROWS {
            tokens.push(format!("[PAD{id}]"));
            kinds.push(5);
        }
        file.texts("tokenizer.ggml.tokens", &tokens);
        file.integers("tokenizer.ggml.token_type", &kinds);
        if merges {
            file.texts("tokenizer.ggml.merges", &MERGES.map(String::from));
        }
        fs::write(path, file.finish(&self.tensors)).unwrap();
    }
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The metadata of a GGUF file, version 3, as it grows.
#[derive(Default)]
struct Gguf {
    count: u64,
    bytes: Vec<u8>,
}

impl Gguf {
    fn key(&mut self, key: &str, kind: u32) {
        self.count += 1;
        put_text(&mut self.bytes, key);
        self.bytes.extend(kind.to_le_bytes());
    }

    fn number(&mut self, key: &str, value: u32) {
        self.key(key, 4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn float(&mut self, key: &str, value: f32) {
        self.key(key, 6);
        self.bytes.extend(value.to_le_bytes());
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key, 8);
        put_text(&mut self.bytes, text);
    }

    fn list(&mut self, key: &str, kind: u32, length: usize) {
        self.key(key, 9);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((length as u64).to_le_bytes());
    }

    fn texts(&mut self, key: &str, texts: &[String]) {
        self.list(key, 8, texts.len());
        texts.iter().for_each(|text| put_text(&mut self.bytes, text));
    }

    fn integers(&mut self, key: &str, values: &[i32]) {
        self.list(key, 5, values.len());
        values.iter().for_each(|value| self.bytes.extend(value.to_le_bytes()));
    }

    /// The whole file, with the tensors under GGUF's names; all lengths are multiples of the
    /// alignment of 32.
    fn finish(self, tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend((tensors.len() as u64).to_le_bytes());
        bytes.extend(self.count.to_le_bytes());
        bytes.extend(self.bytes);
        let mut offset = 0_u64;
        for (name, shape, values) in tensors {
            put_text(&mut bytes, gguf_name(name));
            bytes.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|size| bytes.extend((*size as u64).to_le_bytes()));
            bytes.extend(0_u32.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            offset += 4 * values.len() as u64;
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        tensors.iter().for_each(|(_, _, values)| bytes.extend(little_endian(values)));
        bytes
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn gguf_name(name: &str) -> &'static str {
    match name.trim_start_matches("model.") {
        "embed_tokens.weight" => "token_embd.weight",
        "norm.weight" => "output_norm.weight",
        "lm_head.weight" => "output.weight",
        "layers.0.input_layernorm.weight" => "blk.0.attn_norm.weight",
        "layers.0.self_attn.q_proj.weight" => "blk.0.attn_q.weight",
        "layers.0.self_attn.k_proj.weight" => "blk.0.attn_k.weight",
        "layers.0.self_attn.v_proj.weight" => "blk.0.attn_v.weight",
        "layers.0.self_attn.o_proj.weight" => "blk.0.attn_output.weight",
        "layers.0.post_attention_layernorm.weight" => "blk.0.ffn_norm.weight",
        "layers.0.mlp.gate_proj.weight" => "blk.0.ffn_gate.weight",
        "layers.0.mlp.up_proj.weight" => "blk.0.ffn_up.weight",
        "layers.0.mlp.down_proj.weight" => "blk.0.ffn_down.weight",
        other => panic!("no name for {other}"),
    }
}
