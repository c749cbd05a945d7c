//! Small checkpoints made from nothing: a llama of random weights, and tokenizers of any size for
//! it.

use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::bpe::{self, TEMPLATE, TURN, added, bytes_as_letters};

/// The network's numbers.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    pub vocabulary: usize,
    pub hidden: usize,
    pub layers: usize,
    pub context: usize,
}

/// Writes a whole checkpoint with a byte-level tokenizer that fills the vocabulary.
pub fn write(folder: &Path, network: Network) {
    write_network(folder, network);
    let tokenizer = byte_level(network.vocabulary);
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let config = json!({ "eos_token": TURN[1], "chat_template": TEMPLATE });
    fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
}

/// Writes config.json and model.safetensors.
pub fn write_network(folder: &Path, network: Network) {
    let Network { vocabulary, hidden, layers, context } = network;
    let inner = 2 * hidden;
    let config = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
        "vocab_size": vocabulary, "hidden_size": hidden, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": 2, "num_key_value_heads": 1,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": context,
        "tie_word_embeddings": true, "attention_bias": false, "mlp_bias": false,
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![vocabulary, hidden])];
    for layer in 0..layers {
        let mut add = |name: &str, shape: &[usize]| {
            shapes.push((format!("model.layers.{layer}.{name}.weight"), shape.to_vec()))
        };
        add("input_layernorm", &[hidden]);
        add("self_attn.q_proj", &[hidden, hidden]);
        add("self_attn.k_proj", &[hidden / 2, hidden]);
        add("self_attn.v_proj", &[hidden / 2, hidden]);
        add("self_attn.o_proj", &[hidden, hidden]);
        add("post_attention_layernorm", &[hidden]);
        add("mlp.gate_proj", &[inner, hidden]);
        add("mlp.up_proj", &[inner, hidden]);
        add("mlp.down_proj", &[hidden, inner]);
    }
    shapes.push(("model.norm.weight".to_owned(), vec![hidden]));
    let mut state = 1u64;
    let bytes: Vec<Vec<u8>> =
        shapes.iter().map(|(_, shape)| small_numbers(shape.iter().product(), &mut state)).collect();
    let views = shapes.iter().zip(&bytes).map(|((name, shape), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F16, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
}

/// Numbers as f16 between a quarter and a half, of either sign.
fn small_numbers(count: usize, state: &mut u64) -> Vec<u8> {
    let number = |_| {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = (*state >> 40) as u16;
        (0x3400 | bits & 0x83ff).to_le_bytes()
    };
    (0..count).flat_map(number).collect()
}

/// Byte-level BPE with `count` tokens: bytes, two control tokens, and merges of two letters, of
/// three, and so on.
pub fn byte_level(count: usize) -> Value {
    let letters = bytes_as_letters();
    let mut pieces: Vec<String> = letters.iter().map(char::to_string).collect();
    let mut merges: Vec<(String, String)> = Vec::new();
    // A small letter and capitals after it: no merge begins with a capital, so that there is but
    // one way to every piece.
    let mut last: Vec<String> = ('a'..='z').map(String::from).collect();
    while pieces.len() + TURN.len() < count {
        let mut next = Vec::new();
        for (left, right) in
            last.iter().flat_map(|left| ('A'..='Z').map(move |right| (left, right)))
        {
            if pieces.len() + TURN.len() < count {
                pieces.push(format!("{left}{right}"));
                merges.push((left.clone(), right.to_string()));
                next.push(format!("{left}{right}"));
            }
        }
        last = next;
    }
    let markers = (pieces.len() as u64..).zip(TURN).map(|(id, name)| added(id, name, true));
    let markers: Vec<Value> = markers.collect();
    pieces.extend(TURN.map(String::from));
    bpe::tokenizer(&pieces, json!(merges), &markers)
}
