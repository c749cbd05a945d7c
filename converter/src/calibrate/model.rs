//! A checkpoint as the graph wants it: one layer's tensors at a time, rows of embeddings and head
//! on demand.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device, Tensor};
use hardtack_format::slots::Slot;
use hardtack_format::spec::ModelSpec;
use hardtack_format::{Role, SectionKey, SectionKind};
use hardtack_models::{LayerRecipe, Recipe, TensorSource, Unused};

use super::error::CalibrateError;
use super::graph::{FeedForwardWeights, LayerWeights};
use crate::recipe::{load_rows, recipe_of};
use crate::source::{Checkpoint, hash_files};
use crate::store::{Key, Store};

/// A checkpoint and its recipe, and what replaces some of its tensors.
#[derive(Clone, Debug)]
pub struct Model {
    checkpoint: Arc<Checkpoint>,
    recipe: Arc<Recipe>,
    replaced: Option<Arc<Store>>,
    /// What stays the checkpoint's own, whatever the store has.
    kept: Arc<BTreeSet<Key>>,
    routers: Option<Arc<Vec<Option<Router>>>>,
}

/// A router `[experts, hidden]` and its bias `[experts]`.
#[derive(Clone, Debug)]
pub struct Router {
    /// The router.
    pub weights: Tensor,
    /// Its bias, where it has one.
    pub bias: Option<Tensor>,
}

impl Model {
    /// Opens a checkpoint of a known family.
    ///
    /// # Errors
    /// It cannot be read, or its family is not known.
    pub fn open(path: &Path) -> Result<Self, CalibrateError> {
        Self::open_with(path, Unused::Refuse)
    }

    /// Opens a checkpoint that may hold tensors of no use.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: &Path, unused: Unused) -> Result<Self, CalibrateError> {
        let checkpoint = Checkpoint::open(path)?;
        let recipe = recipe_of(&checkpoint, unused)?;
        Ok(Self {
            checkpoint: Arc::new(checkpoint),
            recipe: Arc::new(recipe),
            replaced: None,
            kept: Arc::default(),
            routers: None,
        })
    }

    /// The same model with the tensors that a store has in the place of the checkpoint's:
    /// quantized, or tuned.
    #[must_use]
    pub fn with(&self, store: Arc<Store>) -> Self {
        Self { replaced: Some(store), ..self.clone() }
    }

    /// The same model with the checkpoint's own tensors under some keys, whatever a store has for
    /// them.
    #[must_use]
    pub fn keeping(&self, keys: BTreeSet<Key>) -> Self {
        Self { kept: Arc::new(keys), ..self.clone() }
    }

    /// The same model with other routers, one place for each layer.
    #[must_use]
    pub fn with_routers(&self, routers: Vec<Option<Router>>) -> Self {
        assert_eq!(routers.len(), self.spec().layers.len(), "a place for each layer");
        Self { routers: Some(Arc::new(routers)), ..self.clone() }
    }

    /// The router of a layer; none for a dense one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn router(&self, index: usize, dtype: DType) -> Result<Option<Router>, CalibrateError> {
        if let Some(router) = self.routers.as_ref().and_then(|routers| routers[index].clone()) {
            return Ok(Some(router));
        }
        let tensors = &self.recipe.layers[index].tensors;
        let section = Section { model: self, key: SectionKey::layer(index as u32), tensors, dtype };
        let Some(weights) = section.find(Role::Router)? else { return Ok(None) };
        Ok(Some(Router { weights, bias: section.find(Role::RouterBias)? }))
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Where its tensors come from.
    pub(crate) fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The network.
    pub fn spec(&self) -> &ModelSpec {
        &self.recipe.spec
    }

    /// All routers, one place for each layer.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn routers(&self) -> Result<Vec<Option<Router>>, CalibrateError> {
        (0..self.spec().layers.len()).map(|index| self.router(index, DType::F32)).collect()
    }

    /// BLAKE3, in hexadecimal digits, of the hashes of all files of the checkpoint's weights and
    /// configuration, and of what replaces some of them.
    ///
    /// # Errors
    /// A file cannot be read, or `stop` was set.
    pub fn source_hash(&self, stop: &AtomicBool) -> Result<String, CalibrateError> {
        let files = hash_files(self.checkpoint.files(), stop, &mut |_| ())?
            .ok_or(CalibrateError::Interrupted)?;
        let mut hasher = blake3::Hasher::new();
        files.iter().for_each(|file| {
            hasher.update(file.blake3.as_bytes());
        });
        if let Some(store) = &self.replaced {
            hasher.update(&store.fingerprint());
            for (section, role) in self.kept.iter() {
                hasher.update(&(section.kind as u16).to_le_bytes());
                hasher.update(&section.layer.to_le_bytes());
                hasher.update(&section.expert.to_le_bytes());
                hasher.update(&(*role as u16).to_le_bytes());
            }
        }
        if self.replaced.is_some() || self.routers.is_some() {
            for router in self.routers()?.into_iter().flatten() {
                for tensor in [Some(router.weights), router.bias].into_iter().flatten() {
                    tensor.flatten_all()?.to_vec1::<f32>()?.iter().for_each(|value| {
                        hasher.update(&value.to_le_bytes());
                    });
                }
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Weights of one layer.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn layer(&self, index: usize, dtype: DType) -> Result<LayerWeights, CalibrateError> {
        let LayerRecipe { tensors, experts } = &self.recipe.layers[index];
        let (spec, number) = (self.spec(), index as u32);
        // The recipe has a tensor for every slot.
        let fill = |slot: Slot, expert: Option<u32>| {
            let (key, tensors) = match expert {
                None => (SectionKey::layer(number), tensors),
                Some(expert) => (SectionKey::expert(number, expert), &experts[expert as usize]),
            };
            Section { model: self, key, tensors, dtype }.find(slot.role)
        };
        let mut weights = LayerWeights::fill(&spec.layers[index], spec.hidden, fill)?;
        if let (FeedForwardWeights::Experts(mixture), Some(routers)) =
            (&mut weights.feed_forward, &self.routers)
            && let Some(router) = routers[index].clone()
        {
            (mixture.router, mixture.router_bias) = (router.weights, router.bias);
        }
        Ok(weights)
    }

    /// A tensor outside the layers, whole: a vector, or a matrix `[rows, columns]`. The head is the
    /// embedding where a checkpoint has none of its own.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn global(&self, role: Role, dtype: DType) -> Result<Tensor, CalibrateError> {
        self.globals(dtype).get(self.global_role(role))
    }

    /// RoPE's angular frequencies; none where nothing is turned.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn frequencies(&self) -> Result<Vec<f32>, CalibrateError> {
        match self.globals(DType::F32).find(Role::RopeFrequencies)? {
            Some(frequencies) => Ok(frequencies.to_vec1()?),
            None => Ok(Vec::new()),
        }
    }

    /// Rows `first..first + count` of embeddings or head, fewer at the end: `[rows, hidden]`,
    /// row-major.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn global_rows(
        &self,
        role: Role,
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>, CalibrateError> {
        let role = self.global_role(role);
        let source = self
            .recipe
            .globals
            .iter()
            .find(|source| source.role == role)
            .expect("recipes have both");
        self.read(SectionKey::only(SectionKind::Globals), source, first, count)
    }

    /// Whether the head is a matrix of its own.
    pub fn has_own_head(&self) -> bool {
        self.recipe.globals.iter().any(|source| source.role == Role::Head)
    }

    fn global_role(&self, role: Role) -> Role {
        if role == Role::Head && !self.has_own_head() { Role::Embedding } else { role }
    }

    fn globals(&self, dtype: DType) -> Section<'_> {
        Section {
            model: self,
            key: SectionKey::only(SectionKind::Globals),
            tensors: &self.recipe.globals,
            dtype,
        }
    }

    /// Rows of a tensor, from the store if that has it.
    fn read(
        &self,
        section: SectionKey,
        source: &TensorSource,
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>, CalibrateError> {
        let key = (section, source.role);
        let replaced = self.replaced.as_ref().filter(|_| !self.kept.contains(&key));
        if let Some((store, shape)) = replaced.and_then(|store| Some((store, store.shape(key)?))) {
            let count = count.min((shape.stack * shape.rows) as usize - first);
            return Ok(store.rows(key, first, count)?);
        }
        Ok(load_rows(&self.checkpoint, source, first, count)?)
    }
}

/// Tensors of one section by their roles.
struct Section<'a> {
    model: &'a Model,
    key: SectionKey,
    tensors: &'a [TensorSource],
    dtype: DType,
}

impl Section<'_> {
    fn find(&self, role: Role) -> Result<Option<Tensor>, CalibrateError> {
        let Some(source) = self.tensors.iter().find(|source| source.role == role) else {
            return Ok(None);
        };
        let [stack, rows, columns] =
            [source.stack, source.rows, source.columns].map(|count| count as usize);
        let values = self.model.read(self.key, source, 0, stack * rows)?;
        let tensor = match (source.is_vector(), role) {
            (true, _) => Tensor::from_vec(values, columns, &Device::Cpu),
            // Matrices a head, even where there is one head.
            (_, Role::KeyUp | Role::ValueUp) => {
                Tensor::from_vec(values, (stack, rows, columns), &Device::Cpu)
            }
            _ => Tensor::from_vec(values, (stack * rows, columns), &Device::Cpu),
        };
        Ok(Some(tensor?.to_dtype(self.dtype)?))
    }

    /// A tensor that the recipe is sure to have for this spec.
    fn get(&self, role: Role) -> Result<Tensor, CalibrateError> {
        self.find(role).map(|found| found.unwrap_or_else(|| panic!("the recipe has {role}")))
    }
}
