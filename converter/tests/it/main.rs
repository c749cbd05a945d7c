//! From a checkpoint to a blob: sources, vocabularies, encodings, calibration.

mod bake_quantized;
mod bake_sources;
#[cfg(feature = "calibrate")]
mod calibrate_files;
#[cfg(feature = "calibrate")]
mod calibrate_gradients;
#[cfg(feature = "calibrate")]
mod calibrate_graph;
#[cfg(feature = "calibrate")]
mod calibrate_judge;
#[cfg(feature = "calibrate")]
mod calibrate_kv;
#[cfg(feature = "calibrate")]
mod calibrate_statistics;
#[cfg(feature = "calibrate")]
mod calibrate_support;
#[cfg(feature = "calibrate")]
mod calibrate_whole_blocks;
mod encodings;
mod encodings_support;
mod gguf_support;
mod gptq;
mod gptq_support;
mod knapsack;
mod knapsack_baseline;
mod knapsack_support;
#[cfg(feature = "calibrate")]
mod kv_policy;
mod source_dequantize;
mod source_folders;
mod source_gguf;
mod source_gguf_kinds;
mod source_gguf_split;
mod source_hostile;
mod source_quantized;
mod source_recognize;
mod store;
mod vocabulary_files;
mod vocabulary_markers;
mod vocabulary_pre_tokenizers;
mod vocabulary_refusals;
mod vocabulary_support;
