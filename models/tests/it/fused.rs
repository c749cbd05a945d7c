//! Experts stored together, as transformers 5 and MLX write them, are the experts stored apart.

use crate::common::{Memory, grown};
use hardtack_models::{Recipe, Settings, recipe};
use serde_json::{Value, json};

const EXPERTS: usize = 3;
const INNER: usize = 32;
const HIDDEN: usize = 64;

fn config(family: &str) -> Value {
    let mut config = json!({
        "model_type": family, "hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 4, "vocab_size": 80, "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
        "hidden_act": "silu", "num_experts_per_tok": 2, "intermediate_size": INNER, "num_experts": EXPERTS,
    });
    let more = match family {
        "qwen3_moe" => {
            json!({ "moe_intermediate_size": INNER, "intermediate_size": 48, "mlp_only_layers": [0] })
        }
        "qwen2_moe" => {
            json!({ "moe_intermediate_size": INNER, "shared_expert_intermediate_size": 48 })
        }
        "deepseek_v2" => json!({
            "kv_lora_rank": 24, "q_lora_rank": null, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 12,
            "moe_intermediate_size": INNER, "intermediate_size": 48, "n_routed_experts": EXPERTS,
            "n_shared_experts": 2, "first_k_dense_replace": 1,
        }),
        "granitemoe" => json!({
            "attention_multiplier": 0.25, "embedding_multiplier": 12.0, "residual_multiplier": 0.2,
            "logits_scaling": 6.0,
        }),
        "gpt_oss" => json!({
            "head_dim": 16, "attention_bias": true, "swiglu_limit": 7.0, "sliding_window": 128, "rope_theta": 150000,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_scaling": {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096},
        }),
        _ => json!({}),
    };
    more.as_object().unwrap().iter().for_each(|(key, value)| config[key] = value.clone());
    config
}

/// A published checkpoint of a family in which no number comes twice.
fn published(config: &Value) -> (Recipe, Memory) {
    let (recipe, mut memory) = grown(Settings::HuggingFace(config)).unwrap();
    let mut next = 0.0;
    for (_, values) in memory.floats.values_mut() {
        values.iter_mut().for_each(|value| {
            next += 1.0;
            *value = next;
        });
    }
    (recipe, memory)
}

/// Puts tensors in place of others: `matrix(layer, expert, part)` is taken out, and `put` says
/// where it goes.
fn restored(
    memory: &Memory,
    layers: &[usize],
    apart: impl Fn(usize, usize, &str) -> String,
) -> (Memory, Vec<Stack>) {
    let mut rest = memory.clone();
    let stack = |layer: usize, part: &'static str, rest: &mut Memory| {
        let matrices =
            (0..EXPERTS).map(|expert| rest.floats.remove(&apart(layer, expert, part)).unwrap());
        let values: Vec<Vec<f32>> = matrices.map(|(_, values)| values).collect();
        Stack { layer, part, values }
    };
    let mut stacks = Vec::new();
    for layer in layers {
        for part in ["gate_proj", "up_proj", "down_proj"] {
            stacks.push(stack(*layer, part, &mut rest));
        }
    }
    (rest, stacks)
}

/// A matrix of all experts of a layer, each row-major `[outputs, inputs]`.
struct Stack {
    layer: usize,
    part: &'static str,
    values: Vec<Vec<f32>>,
}

impl Stack {
    fn shape(&self) -> [usize; 2] {
        if self.part == "down_proj" { [HIDDEN, INNER] } else { [INNER, HIDDEN] }
    }
}

fn turned(values: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| values[row * columns + column]))
        .collect()
}

/// `gate_up_proj` and `down_proj` at `prefix(layer)`, each matrix turned or not.
fn joint(memory: &mut Memory, stacks: &[Stack], turn: bool, prefix: impl Fn(usize) -> String) {
    for parts in stacks.chunks(3) {
        let [gate, up, down] = parts else { panic!("three parts") };
        let both: Vec<f32> = gate
            .values
            .iter()
            .zip(&up.values)
            .flat_map(|(gate, up)| {
                let both = [gate.as_slice(), up].concat();
                if turn { turned(&both, [2 * INNER, HIDDEN]) } else { both }
            })
            .collect();
        let down_values: Vec<f32> = down
            .values
            .iter()
            .flat_map(|values| if turn { turned(values, [HIDDEN, INNER]) } else { values.clone() })
            .collect();
        let prefix = prefix(gate.layer);
        let shapes = if turn {
            [[HIDDEN, 2 * INNER], [INNER, HIDDEN]]
        } else {
            [[2 * INNER, HIDDEN], [HIDDEN, INNER]]
        };
        for (name, values, [rows, columns]) in
            [("gate_up_proj", both, shapes[0]), ("down_proj", down_values, shapes[1])]
        {
            memory
                .floats
                .insert(format!("{prefix}.{name}"), (vec![EXPERTS, rows, columns], values));
        }
    }
}

fn stacked(memory: &mut Memory, stacks: &[Stack], prefix: impl Fn(usize) -> String) {
    for stack in stacks {
        let [rows, columns] = stack.shape();
        let name = format!("{}.{}.weight", prefix(stack.layer), stack.part);
        memory.floats.insert(name, (vec![EXPERTS, rows, columns], stack.values.concat()));
    }
}

/// Both checkpoints have the same numbers everywhere.
fn assert_same(config: &Value, published: &(Recipe, Memory), other: &Memory) {
    let found = recipe(Settings::HuggingFace(config), other).unwrap();
    assert_eq!(found.spec, published.0.spec);
    let all = |recipe: &Recipe, memory: &Memory| -> Vec<Vec<f32>> {
        let layers = recipe
            .layers
            .iter()
            .flat_map(|layer| layer.tensors.iter().chain(layer.experts.iter().flatten()));
        recipe.globals.iter().chain(layers).map(|tensor| tensor.load(memory).unwrap()).collect()
    };
    let (expected, found) = (all(&published.0, &published.1), all(&found, other));
    assert_eq!(expected.len(), found.len());
    assert!(expected == found, "numbers differ");
}

#[test]
fn experts_of_qwen_olmoe_and_deepseek() {
    for (family, layers) in
        [("qwen3_moe", &[1][..]), ("qwen2_moe", &[0, 1]), ("olmoe", &[0, 1]), ("deepseek_v2", &[1])]
    {
        let config = config(family);
        let published = published(&config);
        let apart = |layer: usize, expert: usize, part: &str| {
            format!("model.layers.{layer}.mlp.experts.{expert}.{part}.weight")
        };
        for turn in [false, true] {
            let (mut other, stacks) = restored(&published.1, layers, apart);
            joint(&mut other, &stacks, turn, |layer| format!("model.layers.{layer}.mlp.experts"));
            assert_same(&config, &published, &other);
        }
        let (mut other, stacks) = restored(&published.1, layers, apart);
        stacked(&mut other, &stacks, |layer| format!("model.layers.{layer}.mlp.switch_mlp"));
        assert_same(&config, &published, &other);
    }
}

#[test]
fn experts_of_mixtral_under_either_name() {
    let config = config("mixtral");
    let published = published(&config);
    let apart = |layer: usize, expert: usize, part: &str| {
        let part = ["w1", "w3", "w2"]
            [["gate_proj", "up_proj", "down_proj"].iter().position(|own| *own == part).unwrap()];
        format!("model.layers.{layer}.block_sparse_moe.experts.{expert}.{part}.weight")
    };
    let (mut other, stacks) = restored(&published.1, &[0, 1], apart);
    stacked(&mut other, &stacks, |layer| {
        format!("model.layers.{layer}.block_sparse_moe.switch_mlp")
    });
    assert_same(&config, &published, &other);

    let (mut other, stacks) = restored(&published.1, &[0, 1], apart);
    joint(&mut other, &stacks, false, |layer| format!("model.layers.{layer}.mlp.experts"));
    for layer in 0..2 {
        let gate = other
            .floats
            .remove(&format!("model.layers.{layer}.block_sparse_moe.gate.weight"))
            .unwrap();
        other.floats.insert(format!("model.layers.{layer}.mlp.gate.weight"), gate);
    }
    assert_same(&config, &published, &other);
}

#[test]
fn experts_of_granite_under_either_name() {
    let config = config("granitemoe");
    let published = published(&config);
    // Published joint already; only the names are others.
    let mut other = published.1.clone();
    for layer in 0..2 {
        let block = format!("model.layers.{layer}.block_sparse_moe");
        for (from, to) in [
            ("input_linear.weight", "experts.gate_up_proj"),
            ("output_linear.weight", "experts.down_proj"),
            ("router.layer.weight", "router.weight"),
        ] {
            let tensor = other.floats.remove(&format!("{block}.{from}")).unwrap();
            other.floats.insert(format!("{block}.{to}"), tensor);
        }
    }
    assert_same(&config, &published, &other);
}

/// MLX takes gate's and up's outputs, which alternate, apart and turns them.
#[test]
fn experts_of_gpt_oss_as_mlx_has_them() {
    let config = config("gpt_oss");
    let published = published(&config);
    let mut other = published.1.clone();
    for layer in 0..2 {
        let prefix = format!("model.layers.{layer}.mlp.experts");
        let mut take = |name: &str| other.floats.remove(&format!("{prefix}.{name}")).unwrap().1;
        let (both, down) = (take("gate_up_proj"), take("down_proj"));
        let (both_biases, down_biases) = (take("gate_up_proj_bias"), take("down_proj_bias"));
        let mut put = |name: &str, shape: &[usize], values: Vec<f32>| {
            other.floats.insert(format!("{prefix}.{name}"), (shape.to_vec(), values));
        };
        for (part, first) in [("gate_proj", 0), ("up_proj", 1)] {
            let matrix = |expert: &[f32]| -> Vec<f32> {
                let rows = (first..2 * INNER).step_by(2);
                rows.flat_map(|row| (0..HIDDEN).map(move |column| expert[column * 2 * INNER + row]))
                    .collect()
            };
            let values = both.chunks(HIDDEN * 2 * INNER).flat_map(matrix).collect();
            put(&format!("{part}.weight"), &[EXPERTS, INNER, HIDDEN], values);
            let biases = both_biases.iter().skip(first).step_by(2).copied().collect();
            put(&format!("{part}.bias"), &[EXPERTS, INNER], biases);
        }
        let values = down
            .chunks(INNER * HIDDEN)
            .flat_map(|expert| turned(expert, [INNER, HIDDEN]))
            .collect();
        put("down_proj.weight", &[EXPERTS, HIDDEN, INNER], values);
        put("down_proj.bias", &[EXPERTS, HIDDEN], down_biases);
    }
    assert_same(&config, &published, &other);
}
