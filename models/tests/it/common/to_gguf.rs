//! A fixture laid out as llama.cpp's conversion lays it out: other names, stacked experts, rows of
//! queries and keys permuted.

use std::collections::BTreeMap;

use hardtack_models::{GgufSettings, Setting};
use serde_json::Value;

use super::Memory;

/// Metadata in memory.
#[derive(Clone, Default)]
pub struct Keys(pub BTreeMap<String, Setting>);

impl GgufSettings for Keys {
    fn get(&self, key: &str) -> Option<Setting> {
        self.0.get(key).cloned()
    }
}

/// How the experts of an older or a newer file are kept, and a latent's up-projections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Age {
    Old,
    New,
}

/// The metadata and tensors of a GGUF file made from a fixture.
pub fn convert(config: &Value, memory: &Memory, age: Age) -> (Keys, Memory) {
    let (architecture, _) = architecture(config);
    (keys(config, architecture, age), tensors(config, memory, age))
}

fn architecture(config: &Value) -> (&'static str, bool) {
    match config["model_type"].as_str().expect("model_type") {
        "llama" | "mixtral" => ("llama", true),
        "granitemoe" => ("granitemoe", true),
        "qwen3" => ("qwen3", false),
        "olmoe" => ("olmoe", false),
        "qwen2_moe" => ("qwen2moe", false),
        "qwen3_moe" => ("qwen3moe", false),
        "deepseek_v2" => ("deepseek2", false),
        "gpt_oss" => ("gpt-oss", false),
        other => panic!("no architecture for {other}"),
    }
}

fn keys(config: &Value, architecture: &str, age: Age) -> Keys {
    let mut keys = Keys::default();
    keys.0.insert("general.architecture".into(), Setting::Text(architecture.into()));
    let mut put = |key: &str, value: &Value| {
        let setting = match value {
            Value::Number(number) => match number.as_u64() {
                Some(number) => Setting::Unsigned(number),
                // GGUF holds floats of 32 bits.
                None => Setting::Float(f64::from(number.as_f64().expect("number") as f32)),
            },
            Value::Bool(flag) => Setting::Bool(*flag),
            Value::String(text) => Setting::Text(text.clone()),
            _ => return,
        };
        keys.0.insert(format!("{architecture}.{key}"), setting);
    };
    for (key, from) in [
        ("context_length", "max_position_embeddings"),
        ("embedding_length", "hidden_size"),
        ("block_count", "num_hidden_layers"),
        ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"),
        ("attention.head_count_kv", "num_key_value_heads"),
        ("attention.key_length", "head_dim"),
        ("attention.value_length", "head_dim"),
        ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
        ("expert_count", "num_local_experts"),
        ("expert_count", "num_experts"),
        ("expert_count", "n_routed_experts"),
        ("expert_used_count", "num_experts_per_tok"),
        ("expert_feed_forward_length", "moe_intermediate_size"),
        ("expert_shared_feed_forward_length", "shared_expert_intermediate_size"),
        ("expert_shared_count", "n_shared_experts"),
        ("expert_weights_scale", "routed_scaling_factor"),
        ("leading_dense_block_count", "first_k_dense_replace"),
        ("attention.kv_lora_rank", "kv_lora_rank"),
        ("attention.scale", "attention_multiplier"),
        ("embedding_scale", "embedding_multiplier"),
        ("residual_scale", "residual_multiplier"),
        ("logit_scale", "logits_scaling"),
    ] {
        put(key, &config[from]);
    }
    put("rope.freq_base", &config["rope_parameters"]["rope_theta"]);
    match architecture {
        "gpt-oss" => {
            put("expert_feed_forward_length", &config["intermediate_size"]);
            put("attention.sliding_window", &config["sliding_window"]);
            let rope = &config["rope_parameters"];
            put("rope.scaling.type", &rope["rope_type"]);
            put("rope.scaling.factor", &rope["factor"]);
            put("rope.scaling.original_context_length", &rope["original_max_position_embeddings"]);
            put("rope.scaling.yarn_beta_fast", &rope["beta_fast"]);
            put("rope.scaling.yarn_beta_slow", &rope["beta_slow"]);
        }
        "deepseek2" => {
            let [rank, rope, nope, value] =
                ["kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"]
                    .map(|key| config[key].as_u64().expect("width"));
            put("rope.dimension_count", &rope.into());
            let [key, of_value] = match age {
                Age::Old => ["attention.key_length", "attention.value_length"],
                Age::New => {
                    put("attention.head_count_kv", &1.into());
                    put("attention.key_length", &(rank + rope).into());
                    put("attention.value_length", &rank.into());
                    ["attention.key_length_mla", "attention.value_length_mla"]
                }
            };
            put(key, &(nope + rope).into());
            put(of_value, &value.into());
        }
        _ => {}
    }
    keys
}

/// A shape and its values.
type Stored = (Vec<usize>, Vec<f32>);

fn tensors(config: &Value, memory: &Memory, age: Age) -> Memory {
    let (_, permuted) = architecture(config);
    let mut out = Memory::default();
    // For each stacked tensor its experts in order.
    let mut stacks: BTreeMap<String, BTreeMap<usize, Stored>> = BTreeMap::new();
    for (name, (shape, values)) in &memory.floats {
        let (shape, values) = (shape.clone(), values.clone());
        if let Some((before, after)) =
            name.split_once(".experts.").filter(|(_, after)| after.ends_with("weight"))
        {
            let (expert, part) = after.split_once('.').expect("expert");
            let layer = layer_of(before);
            let part = match part {
                "w1.weight" | "gate_proj.weight" => "ffn_gate",
                "w2.weight" | "down_proj.weight" => "ffn_down",
                _ => "ffn_up",
            };
            if age == Age::Old && config["model_type"] == "mixtral" {
                out.floats.insert(format!("blk.{layer}.{part}.{expert}.weight"), (shape, values));
            } else {
                let stack = stacks.entry(format!("blk.{layer}.{part}_exps.weight")).or_default();
                stack.insert(expert.parse().expect("number"), (shape, values));
            }
        } else if name.contains("mlp.experts.")
            || name.contains("input_linear")
            || name.contains("output_linear")
        {
            joint_experts(&mut out, name, &shape, &values);
        } else if name.contains("kv_b_proj") && age == Age::New {
            split_latent(&mut out, config, name, &shape, &values);
        } else {
            let heads = match name {
                _ if !permuted => None,
                name if name.contains("q_proj") => config["num_attention_heads"].as_u64(),
                name if name.contains("k_proj") => config["num_key_value_heads"].as_u64(),
                _ => None,
            };
            let values =
                heads.map_or(values.clone(), |heads| permute(&values, shape[0], heads as usize));
            // The conversion drops leading ones.
            let shape = if shape[0] == 1 { shape[1..].to_vec() } else { shape };
            out.floats.insert(renamed(name, config), (shape, values));
        }
    }
    for (name, experts) in stacks {
        let mut shape = vec![experts.len()];
        shape.extend(&experts[&0].0);
        out.floats
            .insert(name, (shape, experts.into_values().flat_map(|(_, values)| values).collect()));
    }
    out
}

fn layer_of(name: &str) -> &str {
    name.strip_prefix("model.layers.").expect("layer").split('.').next().expect("number")
}

/// Row `j * (d / 2) + i` of a head goes to row `2 i + j`.
fn permute(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let (head, width) = (rows / heads, values.len() / rows);
    let mut out = vec![0.0; values.len()];
    for row in 0..rows {
        let (start, inside) = (row - row % head, row % head);
        let (j, i) = (inside / (head / 2), inside % (head / 2));
        let to = start + 2 * i + j;
        out[to * width..][..width].copy_from_slice(&values[row * width..][..width]);
    }
    out
}

/// Granite's and GPT-OSS's tensors of all experts, cut into gate and up, outputs as rows.
fn joint_experts(out: &mut Memory, name: &str, shape: &[usize], values: &[f32]) {
    let layer = layer_of(name);
    let count = shape[0];
    if name.contains("output_linear") {
        out.floats
            .insert(format!("blk.{layer}.ffn_down_exps.weight"), (shape.to_vec(), values.to_vec()));
    } else if name.contains("input_linear") {
        let half = shape[1] / 2;
        for (part, first) in [("ffn_gate", 0), ("ffn_up", half)] {
            out.add(
                &format!("blk.{layer}.{part}_exps.weight"),
                &[count, half, shape[2]],
                |index| {
                    let (expert, rest) = (index / (half * shape[2]), index % (half * shape[2]));
                    values[expert * shape[1] * shape[2] + first * shape[2] + rest]
                },
            );
        }
    } else if name.ends_with("_bias") {
        let parts: &[_] = if name.contains("gate_up") {
            &[("ffn_gate", 0, 2), ("ffn_up", 1, 2)]
        } else {
            &[("ffn_down", 0, 1)]
        };
        for &(part, first, step) in parts {
            let length = shape[1] / step;
            out.add(&format!("blk.{layer}.{part}_exps.bias"), &[count, length], |index| {
                values[index / length * shape[1] + first + step * (index % length)]
            });
        }
    } else {
        let parts: &[_] = if name.contains("gate_up") {
            &[("ffn_gate", 0, 2), ("ffn_up", 1, 2)]
        } else {
            &[("ffn_down", 0, 1)]
        };
        for &(part, first, step) in parts {
            let (rows, columns) = (shape[2] / step, shape[1]);
            out.add(&format!("blk.{layer}.{part}_exps.weight"), &[count, rows, columns], |index| {
                let (expert, row, column) =
                    (index / (rows * columns), index / columns % rows, index % columns);
                values[(expert * columns + column) * shape[2] + first + step * row]
            });
        }
    }
}

fn split_latent(out: &mut Memory, config: &Value, name: &str, shape: &[usize], values: &[f32]) {
    let layer = layer_of(name);
    let [heads, nope, value] = ["num_attention_heads", "qk_nope_head_dim", "v_head_dim"]
        .map(|key| config[key].as_u64().expect("width") as usize);
    let rank = shape[1];
    out.add(&format!("blk.{layer}.attn_k_b.weight"), &[heads, rank, nope], |index| {
        let (head, row, column) = (index / (rank * nope), index / nope % rank, index % nope);
        values[(head * (nope + value) + column) * rank + row]
    });
    out.add(&format!("blk.{layer}.attn_v_b.weight"), &[heads, value, rank], |index| {
        let (head, row, column) = (index / (rank * value), index / rank % value, index % rank);
        values[(head * (nope + value) + nope + row) * rank + column]
    });
}

fn renamed(name: &str, config: &Value) -> String {
    let whole = match name {
        "model.embed_tokens.weight" => Some("token_embd.weight"),
        "model.norm.weight" => Some("output_norm.weight"),
        "lm_head.weight" => Some("output.weight"),
        _ => None,
    };
    if let Some(whole) = whole {
        return whole.into();
    }
    let layer = layer_of(name);
    let rest = &name[format!("model.layers.{layer}.").len()..];
    let (stem, ending) = match rest.rsplit_once('.') {
        Some((stem, ending @ ("weight" | "bias"))) => (stem, ending),
        _ => (rest, "weight"),
    };
    let stem = match stem {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" if config["model_type"] == "gpt_oss" => "post_attention_norm",
        "post_attention_layernorm" => "ffn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "self_attn.sinks" => "attn_sinks",
        "self_attn.kv_a_proj_with_mqa" => "attn_kv_a_mqa",
        "self_attn.kv_a_layernorm" => "attn_kv_a_norm",
        "self_attn.kv_b_proj" => "attn_kv_b",
        "mlp.gate" | "block_sparse_moe.gate" | "block_sparse_moe.router.layer" | "mlp.router" => {
            "ffn_gate_inp"
        }
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        "mlp.shared_expert_gate" => "ffn_gate_inp_shexp",
        "mlp.shared_expert.gate_proj" | "mlp.shared_experts.gate_proj" => "ffn_gate_shexp",
        "mlp.shared_expert.up_proj" | "mlp.shared_experts.up_proj" => "ffn_up_shexp",
        "mlp.shared_expert.down_proj" | "mlp.shared_experts.down_proj" => "ffn_down_shexp",
        other => panic!("no name for {other}"),
    };
    format!("blk.{layer}.{stem}.{ending}")
}
