//! The program as a person runs it: every command, its refusals, and what it takes.

mod address_space;
mod bad_blob;
mod bad_checkpoint;
mod bake_check;
mod bake_memory;
mod blobs;
#[cfg(feature = "calibrate")]
mod calibrated;
mod crumb;
#[cfg(feature = "cuda")]
mod device;
mod end_to_end;
mod evaluation;
mod json_growth;
mod kills;
mod memory;
mod memory_random;
mod perplexity;
mod program;
#[cfg(feature = "calibrate")]
mod refined;
mod scripts;
mod signals;
mod smollm2;
mod tasks;
mod terminal;
mod wrong_file;
