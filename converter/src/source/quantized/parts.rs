//! The tensors of a folder by name, of which each belongs to one weight at most.

use std::collections::HashMap;

use super::super::{SourceError, TensorInfo};
use super::stored::Stored;

/// What quantizers keep for activations, keys and values: it says nothing about weights.
const NOT_OF_WEIGHTS: [&str; 12] = [
    ".activation_scale",
    ".input_global_scale",
    ".input_scale",
    ".input_zero_point",
    ".k_scale",
    ".kv_cache_scale",
    ".kv_scale",
    ".output_scale",
    ".prob_output_scale",
    ".q_scale",
    ".v_scale",
    ".weight_format",
];

/// Tensors that have not been put together yet.
pub(super) struct Parts<'a> {
    pub stored: Stored<'a>,
    tensors: HashMap<String, TensorInfo>,
    /// In the order of their bytes.
    names: Vec<String>,
}

impl<'a> Parts<'a> {
    pub fn new(tensors: Vec<TensorInfo>, stored: Stored<'a>) -> Self {
        let names = tensors.iter().map(|tensor| tensor.name.clone()).collect();
        let tensors = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        Self { stored, tensors, names }
    }

    /// All names, of which some may be taken since.
    pub fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    pub fn take(&mut self, name: &str) -> Option<TensorInfo> {
        self.tensors.remove(name)
    }

    /// The tensor without which `of` cannot be read.
    pub fn take_for(&mut self, of: &TensorInfo, name: &str) -> Result<TensorInfo, SourceError> {
        self.take(name).ok_or_else(|| SourceError::LoneCodes {
            file: self.stored.label(of).to_owned(),
            tensor: of.name.clone(),
            part: name.to_owned(),
        })
    }

    /// Refuses a weight that is there under its own name too.
    pub fn check_free(&self, name: &str, of: &TensorInfo) -> Result<(), SourceError> {
        match self.get(name) {
            None => Ok(()),
            Some(_) => Err(self.wrong(of, "", format!("no tensor {name} beside it"), "one".into())),
        }
    }

    /// A tensor that does not fit the others; `item` is what of it, such as `: shape`.
    pub fn wrong(
        &self,
        tensor: &TensorInfo,
        item: &str,
        expected: String,
        found: String,
    ) -> SourceError {
        SourceError::Unexpected {
            file: self.stored.label(tensor).to_owned(),
            what: format!("tensor {}{item}", tensor.name),
            offset: tensor.offset,
            expected,
            found,
        }
    }

    /// Refuses a tensor of another shape.
    pub fn check_shape(&self, tensor: &TensorInfo, expected: &[usize]) -> Result<(), SourceError> {
        if tensor.shape == expected {
            return Ok(());
        }
        Err(self.wrong(tensor, ": shape", format!("{expected:?}"), format!("{:?}", tensor.shape)))
    }

    /// A tensor that cannot be what its name says.
    pub fn wrong_kind(&self, tensor: &TensorInfo, expected: &str) -> SourceError {
        self.wrong(tensor, "", expected.to_owned(), format!("{} {:?}", tensor.kind, tensor.shape))
    }

    /// What is left, in the order of its bytes, without what only a quantized network's activations
    /// need.
    pub fn rest(mut self, quantized: bool) -> Vec<TensorInfo> {
        let is_kept = |name: &&String| {
            !quantized || !NOT_OF_WEIGHTS.iter().any(|ending| name.ends_with(ending))
        };
        self.names.iter().filter(is_kept).filter_map(|name| self.tensors.remove(name)).collect()
    }

    /// What is left.
    pub fn left(&self) -> impl Iterator<Item = &TensorInfo> {
        self.names.iter().filter_map(|name| self.get(name))
    }
}
