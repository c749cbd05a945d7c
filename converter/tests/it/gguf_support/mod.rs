//! GGUF files in the making, for the tests that need some: keys, tensors with their bytes, and
//! where each lies.

#![allow(dead_code, reason = "each test uses its part")]

use std::path::Path;

pub const U16: u32 = 2;
pub const U32: u32 = 4;
pub const I32: u32 = 5;
pub const F32: u32 = 6;
pub const STRING: u32 = 8;

/// Alignment of the tensors' bytes.
const ALIGNMENT: usize = 32;

/// A file in the making.
#[derive(Clone, Debug, Default)]
pub struct File {
    keys: Vec<Vec<u8>>,
    tensors: Vec<Tensor>,
}

#[derive(Clone, Debug)]
struct Tensor {
    name: String,
    /// Row-major, the contiguous dimension last.
    shape: Vec<usize>,
    kind: u32,
    bytes: Vec<u8>,
}

impl File {
    pub fn key(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.keys.push([&text(key), kind.to_le_bytes().as_slice(), value].concat());
        self
    }

    pub fn text(self, key: &str, value: &str) -> Self {
        self.key(key, STRING, &text(value))
    }

    pub fn number(self, key: &str, value: u32) -> Self {
        self.key(key, U32, &value.to_le_bytes())
    }

    /// A tensor of the kind with this number, from its bytes as they are stored.
    pub fn tensor(mut self, name: &str, shape: &[usize], kind: u32, bytes: Vec<u8>) -> Self {
        self.tensors.push(Tensor { name: name.to_owned(), shape: shape.to_vec(), kind, bytes });
        self
    }

    /// A tensor of floats.
    pub fn floats(self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
        self.tensor(name, shape, 0, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// The tensors' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|tensor| tensor.name.as_str())
    }

    /// The file in `count` parts, as `llama-gguf-split` cuts them: all keys in the first, tensors
    /// in their order.
    pub fn split(&self, count: usize) -> Vec<Self> {
        let share = self.tensors.len().div_ceil(count);
        (0..count)
            .map(|part| {
                let keys = if part == 0 { self.keys.clone() } else { Vec::new() };
                let tensors = self.tensors.iter().skip(part * share).take(share).cloned().collect();
                let split = |value: usize| (value as u16).to_le_bytes();
                Self { keys, tensors }
                    .key("split.no", U16, &split(part))
                    .key("split.count", U16, &split(count))
                    .key("split.tensors.count", I32, &(self.tensors.len() as i32).to_le_bytes())
            })
            .collect()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = [b"GGUF".as_slice(), &3u32.to_le_bytes()].concat();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.keys.len() as u64).to_le_bytes());
        bytes.extend(self.keys.concat());
        let mut offset = 0u64;
        for tensor in &self.tensors {
            bytes.extend(text(&tensor.name));
            bytes.extend((tensor.shape.len() as u32).to_le_bytes());
            bytes.extend(
                tensor.shape.iter().rev().flat_map(|&dimension| (dimension as u64).to_le_bytes()),
            );
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            offset += tensor.bytes.len().next_multiple_of(ALIGNMENT) as u64;
        }
        for tensor in &self.tensors {
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
            bytes.extend(&tensor.bytes);
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.bytes()).unwrap();
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}
