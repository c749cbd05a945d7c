//! Every fixture, laid out as a GGUF file, makes the same network and tensors as from the hub.

use crate::common::to_gguf::{Age, Keys, convert};
use crate::common::{Memory, checkpoints, config};
use hardtack_format::Role;
use hardtack_models::{FamilyError, Recipe, Setting, Settings, TensorSource, recipe};
use serde_json::Value;

fn sections(recipe: &Recipe) -> impl Iterator<Item = &Vec<TensorSource>> {
    let layers = recipe
        .layers
        .iter()
        .flat_map(|layer| std::iter::once(&layer.tensors).chain(&layer.experts));
    std::iter::once(&recipe.globals).chain(layers)
}

/// Llama 3's factors are stored in GGUF, so that its settings do not say that there are any.
fn add_factors(config: &Value, memory: &mut Memory) {
    let hub = config["rope_parameters"]["rope_type"] == "llama3";
    if !hub {
        return;
    }
    let rope = &config["rope_parameters"];
    let [base, factor, low, high, original] = [
        "rope_theta",
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "original_max_position_embeddings",
    ]
    .map(|key| rope[key].as_f64().expect("number"));
    let dim = config["head_dim"].as_f64().expect("number");
    memory.add("rope_freqs.weight", &[dim as usize / 2], |pair| {
        let length = std::f64::consts::TAU * base.powf(2.0 * pair as f64 / dim);
        let smooth = (original / length - low) / (high - low);
        let stored = if length < original / high {
            1.0
        } else if length > original / low {
            factor
        } else {
            1.0 / ((1.0 - smooth) / factor + smooth)
        };
        stored as f32
    });
}

/// The same tensors, experts as they are, apart (old files), and with gate and up in one; and a
/// latent's up-projections both whole and halved, as a fork of llama.cpp has them.
fn experts_stored_otherwise(stored: Memory) -> Vec<Memory> {
    let (mut apart, mut fused, mut halved) = (stored.clone(), stored.clone(), stored.clone());
    for (name, (shape, values)) in &stored.floats {
        if let Some(layer) = name.strip_suffix("attn_kv_b.weight") {
            halved.add(&format!("{layer}attn_k_b.weight"), &[3, 5], |_| 0.0);
            halved.add(&format!("{layer}attn_v_b.weight"), &[5, 3], |_| 0.0);
        }
        let Some((stem, ending)) = name.split_once("_exps.") else { continue };
        apart.floats.remove(name);
        let each = values.len() / shape[0];
        for (expert, own) in values.chunks_exact(each).enumerate() {
            apart
                .floats
                .insert(format!("{stem}.{expert}.{ending}"), (shape[1..].to_vec(), own.to_vec()));
        }
        if let Some(layer) = stem.strip_suffix("ffn_gate") {
            let (_, up) = &stored.floats[&format!("{layer}ffn_up_exps.{ending}")];
            let both = values
                .chunks_exact(each)
                .zip(up.chunks_exact(each))
                .flat_map(|(gate, up)| [gate, up].concat());
            let mut shape = shape.clone();
            shape[1] *= 2;
            fused
                .floats
                .insert(format!("{layer}ffn_gate_up_exps.{ending}"), (shape, both.collect()));
        }
        if !stem.ends_with("ffn_down") {
            fused.floats.remove(name);
        }
    }
    vec![stored, apart, fused, halved]
}

#[test]
fn recipes_from_gguf_and_from_the_hub_load_the_same() {
    for folder in checkpoints() {
        let (config, memory) = (config(&folder), Memory::read(&folder, "model.safetensors"));
        let hub = recipe(Settings::HuggingFace(&config), &memory).expect("hub");
        for age in [Age::Old, Age::New] {
            let (keys, mut stored) = convert(&config, &memory, age);
            add_factors(&config, &mut stored);
            for stored in experts_stored_otherwise(stored) {
                let gguf = recipe(Settings::Gguf(&keys), &stored)
                    .unwrap_or_else(|error| panic!("{folder:?}: {error}"));
                assert_eq!(
                    (gguf.family, &gguf.spec),
                    (hub.family, &hub.spec),
                    "{}",
                    folder.display()
                );
                assert_eq!(sections(&gguf).count(), sections(&hub).count());
                for (ours, theirs) in sections(&gguf).zip(sections(&hub)) {
                    assert_eq!(ours.len(), theirs.len());
                    for (ours, theirs) in ours.iter().zip(theirs) {
                        let shape = |tensor: &TensorSource| {
                            (tensor.role, tensor.stack, tensor.rows, tensor.columns)
                        };
                        assert_eq!(shape(ours), shape(theirs));
                        let (found, expected) =
                            (ours.load(&stored).expect("gguf"), theirs.load(&memory).expect("hub"));
                        let same = if ours.role == Role::RopeFrequencies {
                            found
                                .iter()
                                .zip(&expected)
                                .all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs())
                        } else {
                            found == expected
                        };
                        assert!(same, "{}: {} {:?}", folder.display(), ours.role, ours.names());
                    }
                }
            }
        }
    }
}

/// The smallest Llama there can be.
fn tiny() -> (Keys, Memory) {
    let mut keys = Keys::default();
    keys.0.insert("general.architecture".into(), Setting::Text("llama".into()));
    for (key, value) in [
        ("context_length", 64),
        ("embedding_length", 8),
        ("block_count", 1),
        ("feed_forward_length", 6),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("rope.dimension_count", 4),
    ] {
        keys.0.insert(format!("llama.{key}"), Setting::Unsigned(value));
    }
    keys.0.insert("llama.attention.layer_norm_rms_epsilon".into(), Setting::Float(1e-5));
    let mut memory = Memory::default();
    for (name, shape) in [
        ("token_embd.weight", [10, 8].as_slice()),
        ("output_norm.weight", &[8]),
        ("blk.0.attn_norm.weight", &[8]),
        ("blk.0.attn_q.weight", &[8, 8]),
        ("blk.0.attn_k.weight", &[4, 8]),
        ("blk.0.attn_v.weight", &[4, 8]),
        ("blk.0.attn_output.weight", &[8, 8]),
        ("blk.0.ffn_norm.weight", &[8]),
        ("blk.0.ffn_gate.weight", &[6, 8]),
        ("blk.0.ffn_up.weight", &[6, 8]),
        ("blk.0.ffn_down.weight", &[8, 6]),
    ] {
        memory.add(name, shape, |index| index as f32);
    }
    (keys, memory)
}

fn message(keys: &Keys, memory: &Memory) -> String {
    recipe(Settings::Gguf(keys), memory).expect_err("refused").to_string()
}

#[test]
fn a_small_llama_is_known_and_its_biases_are_turned_with_their_rows() {
    let (keys, mut memory) = tiny();
    memory.add("blk.0.attn_q.bias", &[8], |index| index as f32);
    memory.add("blk.0.attn_k.bias", &[4], |index| index as f32);
    let recipe = recipe(Settings::Gguf(&keys), &memory).expect("recipe");
    assert_eq!((recipe.family, recipe.spec.vocabulary), ("llama", 10));
    assert!(recipe.globals.iter().all(|tensor| tensor.role != Role::Head));
    let load = |role| {
        let tensor =
            recipe.layers[0].tensors.iter().find(|tensor| tensor.role == role).expect("present");
        tensor.load(&memory).expect("load")
    };
    assert_eq!(load(Role::QueryBias), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    assert_eq!(load(Role::KeyBias), [0.0, 2.0, 1.0, 3.0]);
    assert_eq!(load(Role::Key)[8..16], [16.0, 17.0, 18.0, 19.0, 20.0, 21.0, 22.0, 23.0]);
}

#[test]
fn refusals_name_the_key_or_the_tensor() {
    let (keys, memory) = tiny();
    for (key, value, expected) in [
        (
            "general.architecture",
            Setting::Text("mamba".into()),
            "general.architecture is \"mamba\"",
        ),
        (
            "llama.rope.scaling.type",
            Setting::Text("longrope".into()),
            "llama.rope.scaling.type is \"longrope\"",
        ),
        ("llama.attention.clamp_kqv", Setting::Float(8.0), "llama.attention.clamp_kqv is 8"),
        (
            "llama.attention.sliding_window",
            Setting::Unsigned(4096),
            "llama.attention.sliding_window is 4096",
        ),
        (
            "llama.final_logit_softcapping",
            Setting::Float(30.0),
            "llama.final_logit_softcapping is 30",
        ),
        ("llama.expert_gating_func", Setting::Unsigned(2), "llama.expert_gating_func is 2"),
        ("llama.rope.dimension_count", Setting::Unsigned(2), "llama.rope.dimension_count is 2"),
        (
            "llama.block_count",
            Setting::Unsigned(1 << 20),
            "llama.block_count: expected at most 1024, found 1048576",
        ),
        (
            "llama.embedding_length",
            Setting::Text("8".into()),
            "llama.embedding_length: expected one whole number",
        ),
        (
            "llama.attention.head_count",
            Setting::Unsigned(0),
            "llama.attention.head_count: expected at least 1",
        ),
        (
            "llama.feed_forward_length",
            Setting::List(vec![Setting::Unsigned(6), Setting::Unsigned(7)]),
            "llama.feed_forward_length: expected one whole number from 0 to 2^24, found [6, 7]",
        ),
    ] {
        let mut keys = keys.clone();
        keys.0.insert(key.into(), value);
        let found = message(&keys, &memory);
        assert!(found.contains(expected), "{found}");
    }
    let mut other = keys.clone();
    other.0.remove("llama.context_length");
    assert_eq!(message(&other, &memory), "setting llama.context_length is missing");
}

#[test]
fn tensors_are_neither_missing_nor_left_over() {
    let (keys, memory) = tiny();
    let mut other = memory.clone();
    other.floats.remove("blk.0.ffn_up.weight");
    assert_eq!(
        message(&keys, &other),
        "tensor blk.0.ffn_up.weight (up) is missing; expected shape [6, 8]"
    );
    let mut other = memory.clone();
    other.floats.remove("token_embd.weight");
    assert!(message(&keys, &other).starts_with("tensor token_embd.weight (embedding) is missing"));
    let mut other = memory.clone();
    other.add("blk.1.attn_norm.weight", &[8], |_| 0.0);
    assert!(
        message(&keys, &other)
            .starts_with("tensor blk.1.attn_norm.weight [8] has no place in a llama network")
    );
    let mut other = memory.clone();
    other.add("blk.0.attn_v.weight", &[8, 8], |_| 0.0);
    assert_eq!(
        message(&keys, &other),
        "tensor blk.0.attn_v.weight (value): expected shape [4, 8], found [8, 8]"
    );
}

#[test]
fn a_hostile_count_of_experts_ends_at_the_first_tensor() {
    let (mut keys, memory) = tiny();
    keys.0.insert("llama.expert_count".into(), Setting::Unsigned(4096));
    keys.0.insert("llama.expert_used_count".into(), Setting::Unsigned(2));
    assert!(matches!(
        recipe(Settings::Gguf(&keys), &memory),
        Err(FamilyError::MissingTensor { .. })
    ));
    keys.0.insert("llama.expert_count".into(), Setting::Unsigned(1 << 24));
    assert!(matches!(recipe(Settings::Gguf(&keys), &memory), Err(FamilyError::Format(_))));
}

#[test]
fn spoiled_keys_are_answered_and_never_panic() {
    let spoiled = [
        Setting::Unsigned(0),
        Setting::Unsigned(1),
        Setting::Unsigned(3),
        Setting::Unsigned(u64::MAX),
        Setting::Negative(-1),
        Setting::Float(f64::NAN),
        Setting::Float(0.5),
        Setting::Float(1e300),
        Setting::Bool(false),
        Setting::Text("yarn".into()),
        Setting::List(Vec::new()),
    ];
    for folder in checkpoints() {
        let (config, memory) = (config(&folder), Memory::read(&folder, "model.safetensors"));
        let (keys, stored) = convert(&config, &memory, Age::New);
        for key in keys.0.keys() {
            for value in &spoiled {
                let mut keys = keys.clone();
                keys.0.insert(key.clone(), value.clone());
                load_all(recipe(Settings::Gguf(&keys), &stored), &stored);
            }
            let mut keys = keys.clone();
            keys.0.remove(key);
            load_all(recipe(Settings::Gguf(&keys), &stored), &stored);
        }
    }
}

/// What was accepted after all must load.
fn load_all(recipe: Result<Recipe, FamilyError>, memory: &Memory) {
    let Ok(recipe) = recipe else { return };
    for tensor in sections(&recipe).flatten() {
        let expected = (tensor.stack * tensor.rows * tensor.columns) as usize;
        assert_eq!(tensor.load(memory).expect("loads").len(), expected);
    }
}
