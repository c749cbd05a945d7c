//! Every fixture has a recipe, its spec survives the format, and the plainest forward pass over it
//! computes transformers' logits.

use crate::common::forward;
use crate::common::{Memory, checkpoints, config};
use hardtack_format::ModelSpec;
use hardtack_models::{Names, Settings, recipe};
use serde_json::Value;

#[test]
fn every_fixture_has_a_recipe_that_the_format_takes() {
    for folder in checkpoints() {
        let memory = Memory::read(&folder, "model.safetensors");
        let recipe = recipe(Settings::HuggingFace(&config(&folder)), &memory).expect("recipe");
        assert_eq!(ModelSpec::from_bytes(&recipe.spec.to_bytes(), 0).as_ref(), Ok(&recipe.spec));
        assert_eq!(recipe.ignored, Vec::<String>::new());
        let sections = recipe
            .layers
            .iter()
            .flat_map(|layer| std::iter::once(&layer.tensors).chain(&layer.experts));
        for section in sections.chain([&recipe.globals]) {
            assert!(
                section.is_sorted_by(|left, right| left.role < right.role),
                "{}",
                folder.display()
            );
            for tensor in section {
                for name in tensor.names() {
                    assert!(memory.shape(name).is_some(), "{name}");
                }
                let expected = (tensor.stack * tensor.rows * tensor.columns) as usize;
                assert_eq!(tensor.load(&memory).expect("load").len(), expected);
            }
        }
    }
}

#[test]
fn parts_of_a_tensor_join_to_the_whole() {
    for folder in checkpoints() {
        let memory = Memory::read(&folder, "model.safetensors");
        let recipe = recipe(Settings::HuggingFace(&config(&folder)), &memory).expect("recipe");
        let layer = &recipe.layers[1];
        for tensor in layer
            .tensors
            .iter()
            .chain(layer.experts.iter().take(2).flatten())
            .chain(&recipe.globals)
        {
            let rows = (tensor.stack * tensor.rows) as usize;
            let parts = (0..rows)
                .step_by(7)
                .flat_map(|first| tensor.load_rows(&memory, first, 7).expect("part"));
            assert_eq!(
                parts.collect::<Vec<_>>(),
                tensor.load(&memory).expect("whole"),
                "{}",
                tensor.role
            );
        }
    }
}

#[test]
fn logits_are_those_of_transformers() {
    for folder in checkpoints() {
        let memory = Memory::read(&folder, "model.safetensors");
        let reference = Memory::read(&folder, "reference.safetensors");
        let recipe = recipe(Settings::HuggingFace(&config(&folder)), &memory).expect("recipe");
        for prompt in 0..3 {
            let tokens = reference.integers(&format!("prompt_{prompt}"));
            let expected = &reference.floats[&format!("logits_{prompt}")].1;
            let found: Vec<f32> = forward::logits(&recipe, &memory, &tokens).concat();
            assert_eq!(found.len(), expected.len());
            let largest = expected.iter().fold(0.0f32, |largest, logit| largest.max(logit.abs()));
            let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{}: prompt {prompt} worst {worst:e} of {largest}", folder.display());
            assert!(worst <= 1e-4 * largest, "{}: {worst} of {largest}", folder.display());
        }
    }
}

#[test]
fn spoiled_settings_are_answered_and_never_panic() {
    let spoiled: Vec<Value> = serde_json::from_str(
        r#"[null, 0, 1, 3, -1, 0.5, 1e9, 16777216, 18446744073709551615, 1e300, true, false, "yarn", "x", [], [1], {}]"#,
    )
    .expect("json");
    for folder in checkpoints() {
        let memory = Memory::read(&folder, "model.safetensors");
        let config = config(&folder);
        let nested = config["rope_parameters"].as_object().expect("object");
        let places = config.as_object().expect("object").keys().map(|key| (None, key));
        for (outer, key) in places.chain(nested.keys().map(|key| (Some("rope_parameters"), key))) {
            for value in &spoiled {
                let mut config = config.clone();
                match outer {
                    None => config[key] = value.clone(),
                    Some(outer) => config[outer][key] = value.clone(),
                }
                // What was accepted after all must load.
                let Ok(recipe) = recipe(Settings::HuggingFace(&config), &memory) else { continue };
                let layers = recipe
                    .layers
                    .iter()
                    .flat_map(|layer| layer.tensors.iter().chain(layer.experts.iter().flatten()));
                for tensor in layers.chain(&recipe.globals) {
                    let expected = (tensor.stack * tensor.rows * tensor.columns) as usize;
                    assert_eq!(tensor.load(&memory).expect("loads").len(), expected);
                }
            }
        }
    }
}
