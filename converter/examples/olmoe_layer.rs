//! Writes a checkpoint of OLMoE-1B-7B's shape with as many layers as are asked for (it has 16) and
//! random weights in bfloat16, for measuring what a calibrated bake takes; and says what the
//! program counts for all of them.
//!
//! ```text
//! cargo run --release --workspace --example olmoe_layer -- FOLDER TOKENIZER [LAYERS]
//! ```
//!
//! `TOKENIZER` is a folder whose `tokenizer.json` has at most 50304 tokens, such as `models/crumb`.

use std::error::Error;
use std::fs;
use std::path::Path;

use half::bf16;
use hardtack_converter::calibrate::{Model, default_options, peak_bytes};
use hardtack_testing::Numbers;
use safetensors::tensor::{Dtype, TensorView};

const HIDDEN: usize = 2048;
const INNER: usize = 1024;
const EXPERTS: usize = 64;
const VOCABULARY: usize = 50304;
/// The real model's, and what a bake calibrates on if nothing else is said.
const LAYERS: usize = 16;
const TOKENS: usize = 16_384;
const WINDOW: usize = 512;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, tokenizer, layers @ ..] = &arguments[..] else {
        return Err("expected FOLDER TOKENIZER [LAYERS]".into());
    };
    let layers: usize = layers.first().map_or(Ok(1), |text| text.parse())?;
    let folder = Path::new(folder);
    fs::create_dir_all(folder)?;
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(Path::new(tokenizer).join(name), folder.join(name))?;
    }
    fs::write(folder.join("config.json"), serde_json::to_string_pretty(&config(layers))?)?;

    let mut random = Numbers(1);
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes(layers)
        .into_iter()
        .map(|(name, shape)| {
            let count = shape.iter().product();
            let values = if shape.len() == 1 { ones(count) } else { weights(&mut random, count) };
            (name, shape, values)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (
            name,
            TensorView::new(Dtype::BF16, shape.clone(), bytes).expect("bytes of their own shape"),
        )
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))?;

    let mut spec = Model::open(folder)?.spec().clone();
    spec.layers = vec![spec.layers[0]; LAYERS];
    let bytes = peak_bytes(&spec, TOKENS, WINDOW, default_options().len(), 1 << 30);
    println!(
        "taking costs of all {LAYERS} layers on {TOKENS} tokens is counted to need {} MiB",
        bytes >> 20
    );
    Ok(())
}

fn config(layers: usize) -> serde_json::Value {
    serde_json::json!({
        "architectures": ["OlmoeForCausalLM"],
        "model_type": "olmoe",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": layers,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "num_experts": EXPERTS,
        "num_experts_per_tok": 8,
        "norm_topk_prob": false,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": false,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "attention_bias": false,
    })
}

/// Every tensor's name and shape.
fn shapes(layers: usize) -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
        ("lm_head.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
    ];
    for layer in 0..layers {
        let mut add = |name: &str, shape: &[usize]| {
            shapes.push((format!("model.layers.{layer}.{name}.weight"), shape.to_vec()));
        };
        for name in
            ["input_layernorm", "post_attention_layernorm", "self_attn.q_norm", "self_attn.k_norm"]
        {
            add(name, &[HIDDEN]);
        }
        for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            add(&format!("self_attn.{name}"), &[HIDDEN, HIDDEN]);
        }
        add("mlp.gate", &[EXPERTS, HIDDEN]);
        for expert in 0..EXPERTS {
            add(&format!("mlp.experts.{expert}.gate_proj"), &[INNER, HIDDEN]);
            add(&format!("mlp.experts.{expert}.up_proj"), &[INNER, HIDDEN]);
            add(&format!("mlp.experts.{expert}.down_proj"), &[HIDDEN, INNER]);
        }
    }
    shapes
}

fn ones(count: usize) -> Vec<u8> {
    bf16::ONE.to_le_bytes().repeat(count)
}

/// Sums of two uniform numbers, of standard deviation 0.02: experts must not all be alike, nothing
/// more.
fn weights(random: &mut Numbers, count: usize) -> Vec<u8> {
    let scale = 0.02 * 1.5f64.sqrt();
    (0..count)
        .flat_map(|_| bf16::from_f64(scale * (random.signed() + random.signed())).to_le_bytes())
        .collect()
}
