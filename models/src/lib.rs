//! What published checkpoints look like, family by family: their names and quirks turned into roles
//! and numbers.
//!
//! [`recipe`] reads a checkpoint's settings and the names and shapes of its tensors, and answers
//! with the network's [`hardtack_format::ModelSpec`] and, for every section of a blob, where each
//! of its tensors comes from. What a family does not know it refuses by name; nothing is guessed.
#![forbid(unsafe_code)]

mod basics;
mod config;
mod draft;
mod error;
mod families;
mod gguf;
mod hub;
mod hub_experts;
mod left_out;
mod metadata;
pub mod mxfp4;
mod nested;
mod recipe;
mod rope;
mod rope_settings;
mod select;
mod slots;
mod source;
mod stored;
mod tensors;

mod deepseek_v2;
mod gpt_oss;
mod granitemoe;
mod llama;
mod mistral;
mod mixtral;
mod olmoe;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;

pub use error::{FamilyError, LoadError};
pub use left_out::LeftOut;
pub use metadata::{GgufSettings, Setting};
pub use recipe::{LayerRecipe, Recipe, Settings, Unused, recipe, recipe_with};
pub use rope::{Rope, Scaling};
pub use select::Selection;
pub use source::{Source, TensorSource};
pub use tensors::{Names, Tensors};
