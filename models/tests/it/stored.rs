//! Where tensors and configuration disagree: heads, biases, rows, a model within a larger one,
//! tensors of no use.

use crate::common::{Memory, grown};
use hardtack_format::Role;
use hardtack_models::{FamilyError, Recipe, Settings, TensorSource, Unused, recipe, recipe_with};
use serde_json::{Value, json};

fn llama(extra: Value) -> Value {
    let mut config = json!({
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 80, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "hidden_act": "silu"
    });
    for (key, value) in extra.as_object().expect("object") {
        config[key] = value.clone();
    }
    config
}

/// A checkpoint with all tensors of an untied Llama.
fn memory() -> Memory {
    grown(Settings::HuggingFace(&llama(json!({ "tie_word_embeddings": false }))))
        .expect("accepted")
        .1
}

fn read(config: &Value, memory: &Memory) -> Recipe {
    recipe(Settings::HuggingFace(config), memory).expect("recipe")
}

fn find(tensors: &[TensorSource], role: Role) -> Option<&TensorSource> {
    tensors.iter().find(|tensor| tensor.role == role)
}

#[test]
fn a_head_beside_tied_embeddings_waits_for_whoever_can_read_it() {
    let memory = memory();
    let mut recipe = read(&llama(json!({ "tie_word_embeddings": true })), &memory);
    assert!(find(&recipe.globals, Role::Head).is_none());
    assert_eq!(recipe.ignored, ["lm_head.weight"]);
    let head = recipe.head_beside.clone().expect("a head");
    assert_eq!((head.names(), head.rows, head.columns), (vec!["lm_head.weight"], 80, 64));
    assert_eq!(recipe.left_out()[0].to_string(), "1 lm_head.weight (the embeddings again)");

    recipe.use_stored_head();
    assert!(recipe.ignored.is_empty() && recipe.head_beside.is_none());
    assert_eq!(
        recipe.globals,
        read(&llama(json!({ "tie_word_embeddings": false })), &memory).globals
    );
    let before = recipe.clone();
    recipe.use_stored_head();
    assert_eq!(recipe, before);
}

#[test]
fn without_a_flag_the_tensors_say_whether_the_head_is_tied() {
    let mut memory = memory();
    let config = llama(json!({}));
    assert!(find(&read(&config, &memory).globals, Role::Head).is_some());
    memory.floats.remove("lm_head.weight");
    assert!(find(&read(&config, &memory).globals, Role::Head).is_none());
    // A head that is announced is missed.
    let announced = llama(json!({ "tie_word_embeddings": false }));
    let error = recipe(Settings::HuggingFace(&announced), &memory).expect_err("refused");
    assert!(matches!(error, FamilyError::MissingTensor { role: Role::Head, .. }), "{error}");
}

#[test]
fn biases_that_are_stored_are_used() {
    let config = llama(json!({ "tie_word_embeddings": false }));
    let mut memory = memory();
    for layer in 0..2 {
        for (name, rows) in [("q_proj", 64), ("k_proj", 32), ("v_proj", 32)] {
            memory.add(&format!("model.layers.{layer}.self_attn.{name}.bias"), &[rows], |index| {
                index as f32
            });
        }
    }
    let recipe = read(&config, &memory);
    for layer in &recipe.layers {
        assert!(
            find(&layer.tensors, Role::KeyBias).is_some()
                && find(&layer.tensors, Role::OutputBias).is_none()
        );
    }
    assert_eq!(recipe.warnings.len(), 3);
    assert!(
        recipe.warnings[0].contains("model.layers.0.self_attn.q_proj.bias"),
        "{:?}",
        recipe.warnings
    );
}

#[test]
fn the_embedding_says_how_many_tokens_there_are() {
    let memory = memory();
    for said in [78, 82] {
        let recipe =
            read(&llama(json!({ "tie_word_embeddings": false, "vocab_size": said })), &memory);
        assert_eq!((recipe.spec.vocabulary, recipe.warnings.len()), (80, 1));
        assert!(recipe.warnings[0].contains("80 rows"));
    }
}

#[test]
fn a_language_model_is_found_within_a_larger_one() {
    let alone = memory();
    let own = llama(json!({ "tie_word_embeddings": false }));
    let right = read(&own, &alone);
    let whole = json!({ "model_type": "llava", "text_config": own, "vision_config": {} });
    for [body, head] in [
        ["language_model.model.", "language_model.lm_head."],
        ["model.language_model.", "lm_head."],
    ] {
        let mut memory = Memory::default();
        for (name, (shape, values)) in &alone.floats {
            let name = match name.strip_prefix("model.") {
                Some(rest) => format!("{body}{rest}"),
                None => name.replace("lm_head.", head),
            };
            memory.floats.insert(name, (shape.clone(), values.clone()));
        }
        memory.add("vision_tower.blocks.0.weight", &[4, 4], |_| 0.0);
        memory.add("vision_tower.blocks.1.weight", &[4, 4], |_| 0.0);
        let recipe = read(&whole, &memory);
        assert_eq!(recipe.spec, right.spec);
        assert_eq!(recipe.left_out()[0].to_string(), "2 vision_tower.blocks.* (vision)");
        for (layer, alone_layer) in recipe.layers.iter().zip(&right.layers) {
            for (tensor, alone_tensor) in layer.tensors.iter().zip(&alone_layer.tensors) {
                assert_eq!(
                    tensor.load(&memory).unwrap(),
                    alone_tensor.load(&alone).unwrap(),
                    "{}",
                    tensor.role
                );
            }
        }
        let stored_head = find(&recipe.globals, Role::Head).expect("a head");
        assert_eq!(stored_head.names(), [format!("{head}weight")]);
    }
}

#[test]
fn tensors_of_no_use_are_refused_unless_allowed_and_then_named() {
    let config = llama(json!({ "tie_word_embeddings": false }));
    let mut memory = memory();
    memory.add("model.layers.0.mlp.odd.weight", &[4], |_| 0.0);
    memory.add("model.layers.1.mlp.odd.weight", &[4], |_| 0.0);
    // A configuration with too few layers is none that predicts further tokens.
    let short = llama(json!({ "tie_word_embeddings": false, "num_hidden_layers": 1 }));
    for config in [&config, &short] {
        let error = recipe(Settings::HuggingFace(config), &memory).expect_err("refused");
        assert!(matches!(error, FamilyError::UnusedTensor { .. }), "{error}");
    }
    let recipe =
        recipe_with(Settings::HuggingFace(&config), &memory, Unused::Allow).expect("allowed");
    assert_eq!(recipe.left_out()[0].to_string(), "2 model.layers.*.mlp.odd.weight");
    assert_eq!(recipe.stored_tensors(), memory.floats.len() - 2);
}
