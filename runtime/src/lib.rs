//! An embedded inference runtime: one memory-mapped file, a plan of every byte, and tokens.
//!
//! # Quick start
//!
//! ```
//! fn main() -> Result<(), hardtack::Error> {
//!     let engine = hardtack::Engine::open("tests/data/tiny.tack")?;
//!     let mut chat = engine.chat(hardtack::ChatOptions::new().system("Be brief."))?;
//!     for piece in chat.ask("What is a ring buffer?")? {
//!         print!("{}", piece?);
//!     }
//! #   let said = &chat.turns()[2].content;
//! #   assert_eq!(said, "A ring buffer is a block of memory that is written round and round: the \
//! #       newest bytes replace the oldest.");
//!     Ok(())
//! }
//! ```
//!
//! | to | take |
//! |---|---|
//! | hold a conversation, perhaps in a file | [`Chat`] |
//! | continue a text | [`Writer`] |
//! | make tokens from tokens | [`Generator`], by [`Session::generator`] |
//! | read logits, log-probabilities, hidden states | [`Session`] |
//! | turn texts into vectors | [`Embedder`] |
//! | forbid tokens, follow a grammar, sample in another way | [`LogitsFilter`] |
//! | read one prefix for many prompts | [`Session::fork`] |
//!
//! # Streaming
//!
//! An [`Answer`], a [`chat::Text`] and a [`Generator`] are iterators, and compute a piece when they
//! are asked for it. Each knows at its end why it ended, what it counted and how long it took. They
//! can be moved to another thread, and a [`Cancel`] ends them from elsewhere. It stays set: reset
//! it before the next question.
//!
//! ```
//! use std::{sync::mpsc, thread};
//!
//! use hardtack::{Cancel, ChatOptions, Engine, WriteOptions};
//!
//! # fn main() -> Result<(), hardtack::Error> {
//! let (engine, cancel) = (Engine::open("tests/data/tiny.tack")?, Cancel::new());
//! let options = ChatOptions::new().write(WriteOptions::new().cancel(cancel.clone()));
//! let mut chat = engine.chat(options)?;
//! let (pieces, received) = mpsc::channel();
//! let worker = thread::spawn(move || -> Result<hardtack::Report, hardtack::Error> {
//!     let mut answer = chat.ask("What is a ring buffer?")?;
//!     for piece in &mut answer {
//!         _ = pieces.send(piece?);
//!     }
//!     Ok(answer.report())
//! });
//! let text: String = received.iter().map(|piece| piece.to_string()).collect();
//! // `cancel.cancel()` would have ended it early.
//! let report = worker.join().unwrap()?;
//! assert!(report.new == 8 && text.starts_with("A ring buffer"));
//! # Ok(()) }
//! ```
//!
//! # Memory
//!
//! A [`Plan`] says what a session takes, byte for byte, before a weight is read. The session
//! allocates it when it is made, and nothing afterwards. [`Options::memory_max`] is a limit on
//! everything; a refusal says what would fit.
//!
//! ```
//! use hardtack::{Engine, Error, Options, SessionOptions};
//!
//! # fn main() -> Result<(), hardtack::Error> {
//! let options = Options::new().memory_max(30 << 20);
//! let engine = Engine::open_with("tests/data/tiny.tack", &options)?;
//! let plan = engine.plan(&SessionOptions::new().context(1024))?;
//! println!("{} bytes: {plan}", plan.total_bytes());
//! # let small = Options::new().memory_max(1 << 20);
//! # let refused = Engine::open_with("tests/data/tiny.tack", &small);
//! # assert!(matches!(refused, Err(Error::Memory { .. })));
//! # Ok(()) }
//! ```
//!
//! # Errors
//!
//! Every failure is an [`Error`] of one line: what was expected, what was found, and what to do.
//! Nothing a caller passes makes the library panic, and it never prints or exits. Libraries below
//! it that panic on hostile tokenizers are contained, which needs unwinding: in a program that is
//! built with `panic = "abort"` such a tokenizer ends the program.
//!
//! # Threads
//!
//! An [`Engine`] is shared by cloning it; it is `Send` and `Sync`, and so is what belongs to no
//! session. A [`Session`], and a [`Chat`] or [`Writer`] around it, belongs to one thread at a time.
//! Sessions on several threads take turns at the engine's own threads, some microseconds each:
//! together they are as fast as one. [`Options::awake`] says how long idle threads wait awake.
//!
//! # Features
//!
//! * `text`, on by default: the tokenizer and chat templates. Without it the library speaks token
//!   ids, and has no [`Chat`], [`Writer`] or [`text`].
//! * `cuda`: NVIDIA GPUs, by a driver that is looked for when a model is opened on one.
//!
//! # How it fits together
//!
//! ```text
//!  Chat, Writer            turns, template, stop strings, files
//!    Generator             limits, cancel, log-probabilities
//!      Sampler             a chain of LogitsFilter, and a draw
//!      Session             tokens, cache, logits: batch after batch
//!        Engine            the blob, its threads and its device
//!          model.tack      mapped: weights, tokenizer, template
//! ```
#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("weights are read where they lie, and the format is little-endian");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("lengths of blobs and of scratch are counted in 64 bits");

mod backend;
mod cache;
mod cancel;
#[cfg(feature = "text")]
pub mod chat;
mod cpu;
mod embed;
pub mod engine;
mod error;
mod generate;
#[cfg(feature = "cuda")]
mod gpu;
mod history;
pub mod memory;
mod options;
#[allow(unsafe_code, reason = "the operating system's room")]
mod os;
mod pipe;
pub mod plan;
mod recognize;
#[cfg(feature = "cuda")]
mod recording;
mod reserved;
pub mod sample;
mod saved;
pub mod session;
#[cfg(feature = "text")]
pub mod text;
mod whole_file;

pub use cache::ladder::Ladder;
pub use cache::size::{KvSize, RingSize};
pub use cancel::Cancel;
#[cfg(feature = "text")]
pub use chat::{Answer, Chat, ChatOptions, Delta, WriteOptions, Writer};
pub use cpu::pool::THREADS_MAX;
pub use cpu::tiers::available as kernel_tiers;
pub use embed::{EmbedOptions, Embedder, Pooling};
pub use engine::Engine;
pub use error::Error;
pub use generate::{GenerateOptions, Generator, Report, Token};
pub use hardtack_format as format;
#[cfg(feature = "cuda")]
pub use hardtack_kernels_cuda::CudaError;
pub use memory::SystemMemory;
pub use options::{
    BATCH_DEFAULT, BATCH_MAX, CONTEXT_DEFAULT, DeviceChoice, KvPrecision, Options, RingBits,
    RingOptions, SessionOptions,
};
pub use os::Load;
pub use plan::Plan;
pub use sample::{LogitsFilter, Sampler, SamplerOptions};
pub use saved::Restored;
pub use session::{Ended, Session};
