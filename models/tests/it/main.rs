//! Families: every fixture and what hubs publish, as recipes.

mod common;
mod fixtures;
mod fused;
mod gguf;
mod hub;
mod stored;
