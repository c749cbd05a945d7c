//! Any JSON as the `config.json` of a checkpoint that has whatever tensors are asked for: a recipe
//! within the format's limits, or a refusal.
#![no_main]

use std::collections::HashMap;

use hardtack_format::ModelSpec;
use hardtack_models::{FamilyError, Names, Settings, recipe};
use libfuzzer_sys::fuzz_target;

/// Tensors that are made up; larger networks are left unfinished.
const TENSORS_MAX: usize = 64;

#[derive(Default)]
struct Wished(HashMap<String, Vec<usize>>);

impl Names for Wished {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.get(name).cloned()
    }
}

fuzz_target!(|bytes: &[u8]| {
    hardtack_fuzz::keep_limit();
    let Ok(config) = serde_json::from_slice(bytes) else { return };
    let mut names = Wished::default();
    for _ in 0..TENSORS_MAX {
        match recipe(Settings::HuggingFace(&config), &names) {
            Err(FamilyError::MissingTensor { tensor, expected, .. }) => {
                assert!(names.0.insert(tensor, expected).is_none(), "a tensor is asked for once");
            }
            Err(error) => {
                assert!(!error.to_string().contains('\n'));
                return;
            }
            Ok(recipe) => {
                let spec = recipe.spec.to_bytes();
                assert_eq!(
                    ModelSpec::from_bytes(&spec, 0).expect("within the limits").to_bytes(),
                    spec
                );
                assert_eq!(recipe.layers.len(), recipe.spec.layers.len());
                return;
            }
        }
    }
});
