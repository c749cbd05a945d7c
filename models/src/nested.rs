//! A language model within a larger one, such as one with a vision tower: its settings under
//! `text_config`, its tensors under a prefix.

use std::collections::HashMap;

use serde_json::Value;

use crate::source::{Source, TensorSource};
use crate::tensors::Names;

/// Where a larger model keeps the tensors of its language model, and what they are called in a
/// model of its own.
const PREFIXES: [(&str, &str); 3] = [
    ("language_model.model.", "model."),
    ("model.language_model.", "model."),
    ("language_model.lm_head.", "lm_head."),
];

/// Settings of the whole that hold for the language model, unless it has its own.
const INHERITED: [&str; 2] = ["tie_word_embeddings", "quantization_config"];

/// The settings of the language model within, if `known` says that there is one of a known family
/// and none outside.
pub(crate) fn text_config(config: &Value, known: impl Fn(&str) -> bool) -> Option<Value> {
    let family = |config: &Value| config["model_type"].as_str().is_some_and(&known);
    let inner = &config["text_config"];
    if family(config) || !family(inner) {
        return None;
    }
    let mut own = inner.clone();
    for key in INHERITED {
        if own[key].is_null() && !config[key].is_null() {
            own[key] = config[key].clone();
        }
    }
    Some(own)
}

/// The tensors of a larger model under the names that its language model would have alone.
pub(crate) struct Within<'a> {
    whole: &'a dyn Names,
    /// From the name alone to the name within.
    stored: HashMap<String, String>,
}

impl<'a> Within<'a> {
    pub fn new(whole: &'a dyn Names) -> Self {
        let names = whole.names().into_iter();
        let stored = names.filter_map(|name| {
            let (prefix, alone) = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix))?;
            Some((format!("{alone}{}", &name[prefix.len()..]), name))
        });
        Self { whole, stored: stored.collect() }
    }

    /// Turns the names of a source back into those that are stored.
    pub fn restore(&self, source: &mut TensorSource) {
        if let Source::Stored(selection) | Source::Divided { by: selection, .. } = &mut source.value
        {
            selection.rename(|name| self.stored(name).to_owned());
        }
    }

    fn stored<'n>(&'n self, name: &'n str) -> &'n str {
        self.stored.get(name).map_or(name, String::as_str)
    }
}

impl Names for Within<'_> {
    fn names(&self) -> Vec<String> {
        let alone: HashMap<&String, &String> =
            self.stored.iter().map(|(alone, stored)| (stored, alone)).collect();
        let names = self.whole.names().into_iter();
        names
            .map(|name| alone.get(&name).map_or_else(|| name.clone(), |alone| (*alone).clone()))
            .collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.whole.shape(self.stored(name))
    }
}
