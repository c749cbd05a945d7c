//! A checkpoint held against what its family says: every tensor in its place, none missing, none left over.

use std::collections::HashSet;

use hardtack_format::Role;
use hardtack_format::spec::ModelSpec;

use crate::config::Config;
use crate::draft::Draft;
use crate::error::FamilyError;
use crate::families;
use crate::metadata::{GgufSettings, Metadata};
use crate::select::same_shape;
use crate::slots::{self, Head, Slot};
use crate::source::{Names, Source, TensorSource};

/// What a checkpoint says about itself.
#[derive(Clone, Copy)]
pub enum Settings<'a> {
    /// The `config.json` of a checkpoint on the Hugging Face hub.
    HuggingFace(&'a serde_json::Value),
    /// The metadata of a GGUF file.
    Gguf(&'a dyn GgufSettings),
}

/// How a checkpoint becomes a blob: the network, and for every section where its tensors come from.
/// Tensors stand in ascending order of their roles.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The family that knew it.
    pub family: &'static str,
    /// The network.
    pub spec: ModelSpec,
    /// Tensors of the globals section.
    pub globals: Vec<TensorSource>,
    /// Tensors of every layer.
    pub layers: Vec<LayerRecipe>,
    /// Names of stored tensors that mean nothing to the network, such as a tied head's copy.
    pub ignored: Vec<String>,
}

/// Where the tensors of one layer come from.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerRecipe {
    /// Those that every token reads.
    pub tensors: Vec<TensorSource>,
    /// Those of each expert.
    pub experts: Vec<Vec<TensorSource>>,
}

/// The recipe for a checkpoint.
///
/// # Errors
/// The family is not known, a setting asks for what the runtime cannot do, a tensor is missing, has another shape than
/// the settings say, or has no place in the network.
pub fn recipe(settings: Settings<'_>, names: &dyn Names) -> Result<Recipe, FamilyError> {
    let draft = match settings {
        Settings::HuggingFace(config) => families::from_hub(&Config::root(config), names)?,
        Settings::Gguf(settings) => families::from_gguf(&Metadata::new(settings)?, names)?,
    };
    // The reader of blobs knows every limit, so it is asked before shapes are computed from these numbers.
    ModelSpec::from_bytes(&draft.spec.to_bytes(), 0).map_err(FamilyError::Format)?;
    Assembly { draft: &draft, names, used: HashSet::new() }.run()
}

struct Assembly<'a> {
    draft: &'a Draft,
    names: &'a dyn Names,
    /// Names of the stored tensors that have found their place.
    used: HashSet<String>,
}

impl Assembly<'_> {
    fn run(mut self) -> Result<Recipe, FamilyError> {
        let Draft { family, spec, head, optional, .. } = self.draft;
        let globals = self.section(&slots::globals(spec, *head))?;
        let mut layers = Vec::new();
        for (index, layer) in spec.layers.iter().enumerate() {
            let index = index as u32;
            let tensors = self.section(&slots::layer(spec, index, optional))?;
            let mut experts = Vec::new();
            if let Some(mixture) = layer.feed_forward.experts() {
                for expert in 0..mixture.count {
                    experts.push(self.section(&slots::expert(mixture, spec.hidden, index, expert, optional))?);
                }
            }
            layers.push(LayerRecipe { tensors, experts });
        }
        let ignored = self.left_over()?;
        Ok(Recipe { family, spec: spec.clone(), globals, layers, ignored })
    }

    /// The tensors of one section, each looked up; a hostile count of experts ends at the first one that is missing.
    fn section(&mut self, slots: &[Slot]) -> Result<Vec<TensorSource>, FamilyError> {
        let mut tensors = Vec::with_capacity(slots.len());
        for slot in slots {
            let tensor = TensorSource::new(slot, self.locate(slot));
            self.look_up(&tensor)?;
            tensors.push(tensor);
        }
        tensors.sort_by_key(|tensor| tensor.role);
        Ok(tensors)
    }

    fn locate(&self, slot: &Slot) -> Source {
        if slot.role != Role::RopeFrequencies {
            return (self.draft.locate)(slot);
        }
        let values = self.draft.frequencies.clone();
        match &self.draft.frequency_divisors {
            None => Source::Literal(values),
            Some(by) => Source::Divided { values, by: by.clone() },
        }
    }

    fn look_up(&mut self, tensor: &TensorSource) -> Result<(), FamilyError> {
        let role = tensor.role;
        for (name, expected) in tensor.stored() {
            match self.names.shape(name) {
                None => return Err(FamilyError::MissingTensor { tensor: name.into(), role, expected }),
                Some(found) if !same_shape(&found, &expected) => {
                    return Err(FamilyError::TensorShape { tensor: name.into(), role, expected, found });
                }
                Some(_) => {}
            }
            if !self.used.contains(name) {
                self.used.insert(name.into());
            }
        }
        Ok(())
    }

    /// Stored tensors without a place that mean nothing; one that might is refused.
    fn left_over(&self) -> Result<Vec<String>, FamilyError> {
        let mut names: Vec<String> = self.names.names().into_iter().filter(|name| !self.used.contains(name)).collect();
        names.sort();
        match names.iter().find(|name| !self.is_ignorable(name)) {
            None => Ok(names),
            Some(name) => Err(FamilyError::UnusedTensor {
                tensor: name.clone(),
                found: self.names.shape(name).unwrap_or_default(),
                family: self.draft.family,
            }),
        }
    }

    /// Frequencies that are computed anyway (old Llama checkpoints keep them), the halves of a latent's up-projection that
    /// stands there whole, and the copy of a tied head.
    fn is_ignorable(&self, name: &str) -> bool {
        let half_of = name.strip_suffix("attn_k_b.weight").or_else(|| name.strip_suffix("attn_v_b.weight"));
        name.ends_with("rotary_emb.inv_freq")
            || half_of.is_some_and(|layer| self.used.contains(&format!("{layer}attn_kv_b.weight")))
            || (self.draft.head == Head::Tied && matches!(name, "lm_head.weight" | "output.weight"))
    }
}
