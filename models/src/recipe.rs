//! A checkpoint held against what its family says: every tensor in its place, none missing, none
//! left over.

use std::collections::HashSet;

use hardtack_format::Role;
use hardtack_format::spec::ModelSpec;

use crate::config::Config;
use crate::draft::Draft;
use crate::error::FamilyError;
use crate::families;
use crate::left_out::{self, LeftOut};
use crate::metadata::{GgufSettings, Metadata};
use crate::nested::{self, Within};
use crate::select::same_shape;
use crate::slots::{self, Head, Slot};
use crate::source::{Source, TensorSource};
use crate::stored::{self, TiedFlag};
use crate::tensors::Names;

/// What a checkpoint says about itself.
#[derive(Clone, Copy)]
pub enum Settings<'a> {
    /// The `config.json` of a checkpoint on the Hugging Face hub.
    HuggingFace(&'a serde_json::Value),
    /// The metadata of a GGUF file.
    Gguf(&'a dyn GgufSettings),
}

/// How a checkpoint becomes a blob: the network, and for every section where its tensors come from.
/// Tensors are in ascending order of their roles.
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
    /// Names of stored tensors without a place in the network: such that mean nothing to it, and
    /// with [`Unused::Allow`] any other.
    pub ignored: Vec<String>,
    /// A head that is stored although the embeddings are said to serve as one. If its values are
    /// others than theirs it is the network's head ([`Recipe::use_stored_head`]): so do
    /// transformers 5 and llama.cpp.
    pub head_beside: Option<TensorSource>,
    /// Where tensors and configuration disagreed and the tensors were followed, one line each.
    pub warnings: Vec<String>,
}

/// What becomes of stored tensors that have no place in a network and are not known to mean
/// nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unused {
    /// They are an error: the network may be another one than it is taken for.
    #[default]
    Refuse,
    /// They are left out.
    Allow,
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
/// The family is not known, a setting wants what the runtime cannot do, a tensor is missing, has
/// another shape than the settings say, or has no place in the network.
pub fn recipe(settings: Settings<'_>, names: &dyn Names) -> Result<Recipe, FamilyError> {
    recipe_with(settings, names, Unused::Refuse)
}

/// The recipe for a checkpoint that may hold tensors of no use.
///
/// # Errors
/// As [`recipe`], but for tensors without a place where these are allowed.
pub fn recipe_with(
    settings: Settings<'_>,
    names: &dyn Names,
    unused: Unused,
) -> Result<Recipe, FamilyError> {
    match settings {
        Settings::HuggingFace(config) => {
            match nested::text_config(config, families::is_known_on_hub) {
                None => from_hub(config, names, unused),
                Some(own) => {
                    let within = Within::new(names);
                    let mut recipe = from_hub(&own, &within, unused)?;
                    recipe.restore(&within);
                    Ok(recipe)
                }
            }
        }
        Settings::Gguf(settings) => {
            let draft = families::from_gguf(&Metadata::new(settings)?, names)?;
            Assembly::run(&draft, names, unused)
        }
    }
}

fn from_hub(
    config: &serde_json::Value,
    names: &dyn Names,
    unused: Unused,
) -> Result<Recipe, FamilyError> {
    let config = Config::root(config);
    let mut draft = families::from_hub(&config, names)?;
    // Slots are computed from these numbers.
    check_limits(&draft.spec)?;
    let flag = match config.optional_flag("tie_word_embeddings")? {
        Some(true) => TiedFlag::Tied,
        Some(false) => TiedFlag::Own,
        None => TiedFlag::Absent,
    };
    let (warnings, head_beside) = stored::settle(&mut draft, flag, names);
    let recipe = Assembly::run(&draft, names, unused)?;
    Ok(Recipe { head_beside, warnings, ..recipe })
}

/// The reader of blobs knows every limit, so it is asked before shapes are computed from these
/// numbers.
fn check_limits(spec: &ModelSpec) -> Result<(), FamilyError> {
    ModelSpec::from_bytes(&spec.to_bytes(), 0).map(drop).map_err(FamilyError::Format)
}

impl Recipe {
    /// Puts the head that is stored beside the embeddings into the network; without one it stays
    /// as it is.
    pub fn use_stored_head(&mut self) {
        let Some(head) = self.head_beside.take() else { return };
        self.ignored.retain(|name| !head.names().contains(&name.as_str()));
        self.globals.push(head);
        self.globals.sort_by_key(|tensor| tensor.role);
    }

    /// What the blob does not get, by kind.
    pub fn left_out(&self) -> Vec<LeftOut> {
        let is_head = |name: &str| {
            is_head(name) && !self.globals.iter().any(|tensor| tensor.role == Role::Head)
        };
        left_out::grouped(&self.ignored, is_head)
    }

    /// How many stored tensors the blob is made of.
    pub fn stored_tensors(&self) -> usize {
        let names: HashSet<&str> = self.tensors().flat_map(TensorSource::names).collect();
        names.len()
    }

    fn tensors(&self) -> impl Iterator<Item = &TensorSource> {
        let layers = self
            .layers
            .iter()
            .flat_map(|layer| layer.tensors.iter().chain(layer.experts.iter().flatten()));
        self.globals.iter().chain(layers)
    }

    /// Turns the names of tensors back into those that they are stored under.
    fn restore(&mut self, within: &Within<'_>) {
        let layers = self.layers.iter_mut();
        let layers = layers
            .flat_map(|layer| layer.tensors.iter_mut().chain(layer.experts.iter_mut().flatten()));
        for tensor in self.globals.iter_mut().chain(layers).chain(&mut self.head_beside) {
            within.restore(tensor);
        }
    }
}

/// A head under its usual names.
fn is_head(name: &str) -> bool {
    matches!(name, "lm_head.weight" | "output.weight")
}

struct Assembly<'a> {
    draft: &'a Draft,
    names: &'a dyn Names,
    unused: Unused,
    /// Names of the stored tensors that have found their place.
    used: HashSet<String>,
}

impl<'a> Assembly<'a> {
    fn run(draft: &'a Draft, names: &'a dyn Names, unused: Unused) -> Result<Recipe, FamilyError> {
        check_limits(&draft.spec)?;
        Assembly { draft, names, unused, used: HashSet::new() }.assemble()
    }

    fn assemble(mut self) -> Result<Recipe, FamilyError> {
        let Draft { family, spec, head, optional, .. } = self.draft;
        let globals = self.section(&slots::globals(spec, *head))?;
        let mut layers = Vec::new();
        for (index, layer) in spec.layers.iter().enumerate() {
            let index = index as u32;
            let tensors = self.section(&slots::layer(spec, index, optional))?;
            let mut experts = Vec::new();
            if let Some(mixture) = layer.feed_forward.experts() {
                for expert in 0..mixture.count {
                    experts.push(self.section(&slots::expert(
                        mixture,
                        spec.hidden,
                        index,
                        expert,
                        optional,
                    ))?);
                }
            }
            layers.push(LayerRecipe { tensors, experts });
        }
        let ignored = self.left_over()?;
        let (head_beside, warnings) = (None, Vec::new());
        Ok(Recipe { family, spec: spec.clone(), globals, layers, ignored, head_beside, warnings })
    }

    /// The tensors of one section, each looked up; a hostile count of experts ends at the first one
    /// that is missing.
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
                None => {
                    return Err(FamilyError::MissingTensor { tensor: name.into(), role, expected });
                }
                Some(found) if !same_shape(&found, &expected) => {
                    return Err(FamilyError::TensorShape {
                        tensor: name.into(),
                        role,
                        expected,
                        found,
                    });
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
        let mut names: Vec<String> =
            self.names.names().into_iter().filter(|name| !self.used.contains(name)).collect();
        names.sort();
        match names.iter().find(|name| !self.is_ignorable(name)) {
            Some(name) if self.unused == Unused::Refuse => Err(FamilyError::UnusedTensor {
                tensor: name.clone(),
                found: self.names.shape(name).unwrap_or_default(),
                family: self.draft.family,
            }),
            _ => Ok(names),
        }
    }

    /// What is computed anyway (old Llama checkpoints keep frequencies), the halves of a latent's
    /// up-projection that is there whole, the copy of a tied head, and parts of a larger model that
    /// this network does without.
    fn is_ignorable(&self, name: &str) -> bool {
        let half_of =
            name.strip_suffix("attn_k_b.weight").or_else(|| name.strip_suffix("attn_v_b.weight"));
        left_out::word(name).is_some()
            || half_of.is_some_and(|layer| self.used.contains(&format!("{layer}attn_kv_b.weight")))
            || (self.draft.head == Head::Tied && is_head(name))
    }
}
