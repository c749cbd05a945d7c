//! A checkpoint on disk or in memory for tests.

pub mod forward;
pub mod to_gguf;

use std::collections::BTreeMap;
use std::path::PathBuf;

use hardtack_models::{Names, Tensors};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// Folders of checkpoints among the fixtures.
pub fn checkpoints() -> Vec<PathBuf> {
    let Some(root) = hardtack_testing::fixtures() else { return Vec::new() };
    let entries =
        std::fs::read_dir(root).expect("fixtures").map(|entry| entry.expect("entry").path());
    let mut folders: Vec<_> = entries.filter(|path| path.join("config.json").is_file()).collect();
    folders.sort();
    assert!(folders.len() >= 10, "only {} fixtures", folders.len());
    folders
}

/// A `config.json`.
pub fn config(folder: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("config.json")).expect("config"))
        .expect("json")
}

/// Tensors in memory: floats, or bytes.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub floats: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    pub bytes: BTreeMap<String, (Vec<usize>, Vec<u8>)>,
}

impl Memory {
    pub fn read(folder: &std::path::Path, file: &str) -> Self {
        let data = std::fs::read(folder.join(file)).expect("safetensors");
        let file = SafeTensors::deserialize(&data).expect("header");
        let mut memory = Self::default();
        for (name, view) in file.tensors() {
            let shape = view.shape().to_vec();
            match view.dtype() {
                Dtype::F32 => {
                    let words = view.data().as_chunks().0.iter();
                    let values = words.map(|bytes| f32::from_le_bytes(*bytes)).collect();
                    memory.floats.insert(name, (shape, values));
                }
                // The upper half of an f32.
                Dtype::BF16 => {
                    let words = view.data().as_chunks().0.iter();
                    let values = words.map(|&[low, high]| f32::from_le_bytes([0, 0, low, high]));
                    memory.floats.insert(name, (shape, values.collect()));
                }
                _ => _ = memory.bytes.insert(name, (shape, view.data().to_vec())),
            }
        }
        memory
    }

    pub fn add(&mut self, name: &str, shape: &[usize], value: impl FnMut(usize) -> f32) {
        let count = shape.iter().product();
        self.floats.insert(name.into(), (shape.to_vec(), (0..count).map(value).collect()));
    }

    pub fn integers(&self, name: &str) -> Vec<usize> {
        self.bytes[name]
            .1
            .as_chunks::<8>()
            .0
            .iter()
            .map(|bytes| i64::from_le_bytes(*bytes) as usize)
            .collect()
    }
}

impl Names for Memory {
    fn names(&self) -> Vec<String> {
        self.floats.keys().chain(self.bytes.keys()).cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let shape = self.floats.get(name).map(|(shape, _)| shape);
        shape.or_else(|| self.bytes.get(name).map(|(shape, _)| shape)).cloned()
    }
}

impl Tensors for Memory {
    type Error = String;

    fn read_rows(&self, name: &str, first: usize, count: usize) -> Result<Vec<f32>, String> {
        let (shape, values) = self.floats.get(name).ok_or("not floats")?;
        let width = shape.last().copied().unwrap_or(1);
        Ok(values.get(first * width..(first + count) * width).ok_or("past the end")?.to_vec())
    }

    fn read_bytes(&self, name: &str, first: usize, count: usize) -> Result<Vec<u8>, String> {
        let (shape, values) = self.bytes.get(name).ok_or("not bytes")?;
        let width = shape.last().copied().unwrap_or(1);
        Ok(values.get(first * width..(first + count) * width).ok_or("past the end")?.to_vec())
    }
}

/// A checkpoint with exactly the tensors that the settings ask for, numbered values in each.
pub fn grown(
    settings: hardtack_models::Settings<'_>,
) -> Result<(hardtack_models::Recipe, Memory), String> {
    let mut memory = Memory::default();
    loop {
        match hardtack_models::recipe(settings, &memory) {
            Ok(recipe) => return Ok((recipe, memory)),
            Err(hardtack_models::FamilyError::MissingTensor { tensor, expected, .. }) => {
                memory.add(&tensor, &expected, |index| index as f32);
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
