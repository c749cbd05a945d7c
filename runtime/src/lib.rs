//! The lean runtime: opens a blob, plans its memory and decodes from it.
//!
//! ```no_run
//! use hardtack::{ChatOptions, Engine, Options};
//!
//! # fn main() -> Result<(), hardtack::Error> {
//! let engine = Engine::open("model.tack")?;
//! let mut chat = engine.chat(ChatOptions::new().system("Be brief."))?;
//! for piece in chat.ask("What is a ring buffer?")? {
//!     print!("{}", piece?.text());
//! }
//! # Ok(()) }
//! ```
//!
//! [`Chat`] is a conversation in the model's own form, [`Writer`] continues a text, and a
//! [`Session`] speaks token ids. [`Cancel`] ends any of them from elsewhere. Every failure is an
//! [`Error`].
#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("weights are read where they lie, and the format is little-endian");

mod cache;
mod cancel;
#[cfg(feature = "text")]
pub mod chat;
mod cpu;
mod device;
mod embed;
pub mod engine;
mod error;
mod generate;
#[cfg(feature = "cuda")]
mod gpu;
mod history;
pub mod memory;
#[allow(unsafe_code, reason = "the operating system's room")]
mod os;
pub mod plan;
mod recognize;
#[cfg(feature = "cuda")]
mod recording;
mod reserved;
pub mod sample;
mod saved;
pub mod session;
mod state;
#[cfg(feature = "text")]
pub mod text;
mod whole_file;

pub use cache::ladder::Ladder;
pub use cache::size::RingSize;
pub use cache::{KvPrecision, KvSize, RingBits, RingOptions};
pub use cancel::Cancel;
#[cfg(feature = "text")]
pub use chat::{Answer, Chat, ChatOptions, Delta, WriteOptions, Writer};
pub use cpu::tiers::available as kernel_tiers;
pub use device::DeviceChoice;
pub use embed::{EmbedOptions, Embedder, Pooling};
pub use engine::{Engine, Options};
pub use error::Error;
pub use generate::{GenerateOptions, Generator, Report, Token};
pub use hardtack_format as format;
#[cfg(feature = "cuda")]
pub use hardtack_kernels_cuda::CudaError;
pub use memory::SystemMemory;
pub use os::Load;
pub use plan::{Plan, SessionOptions};
pub use sample::{LogitsFilter, Sampler, SamplerOptions};
pub use saved::Restored;
pub use session::{Ended, Session};
