//! What a caller may ask of an engine and of a session.

use std::path::PathBuf;
use std::time::Duration;

use crate::cache::ladder::Ladder;
use crate::memory::SystemMemory;
use crate::os::Load;

/// Tokens kept by default, if the model was trained for as many.
pub const CONTEXT_DEFAULT: usize = 4096;
/// Tokens processed at once by default.
pub const BATCH_DEFAULT: usize = 64;
/// Most tokens processed at once.
pub const BATCH_MAX: usize = 1024;

/// How a model is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the model runs on.
    pub device: DeviceChoice,
    /// The session that a device must have room for if [`DeviceChoice::Auto`] is to take it.
    pub session: SessionOptions,
    /// Folder where kernels that were compiled for a GPU are kept for the next time; without one
    /// they are compiled anew.
    pub kernel_cache: Option<PathBuf>,
    /// Threads; 0 for as many as the processor has.
    pub threads: usize,
    /// How long idle threads wait awake for more work before they sleep; 100 µs if absent. Shorter
    /// saves a battery, and costs speed where tokens are small.
    pub awake: Option<Duration>,
    /// Name of a tier of kernels; the fastest if absent.
    pub kernels: Option<String>,
    /// How the weights come into memory.
    pub load: Load,
    /// Whether every hash of the blob is checked first, which reads the whole file.
    pub verify: bool,
    /// Most bytes that weights, tokenizer, cache, scratch and the process may take together, the
    /// host's memory and a device's added up. A model that cannot fit is refused before its
    /// weights are read, a session before it is made.
    pub memory_max: Option<u64>,
    /// Whether a model or a session is also refused that needs more than the system would give,
    /// where `memory_max` says nothing. It is by default: the system would end the process later,
    /// without a word.
    pub system_memory: SystemMemory,
}

/// What a model runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU that the driver names. Without one the model is not opened.
    Cuda,
    /// The first NVIDIA GPU if one opens and the model fits it with [`Options::session`], else the
    /// processor; [`crate::Engine::passed_over`] says why.
    Auto,
}

/// What a session is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionOptions {
    /// Tokens that it can keep; 0 for the trained context, at most [`CONTEXT_DEFAULT`]. A ring
    /// goes on for ever and keeps none further apart than this; 0 is the whole trained context
    /// then.
    pub context: usize,
    /// Tokens of a prompt processed at once.
    pub batch: usize,
    /// How keys and values are kept.
    pub kv: KvPrecision,
}

impl SessionOptions {
    /// The smallest session there can be: a model that leaves no room for it is refused before it
    /// is read.
    pub(crate) const LEAST: Self = Self { context: 1, batch: 1, kv: KvPrecision::F16 };
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { context: 0, batch: BATCH_DEFAULT, kv: KvPrecision::default() }
    }
}

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum KvPrecision {
    /// As f16, of as many tokens as the context has.
    #[default]
    F16,
    /// As f32, for comparing with a reference.
    F32,
    /// A ring of fixed bytes: codes of a few bits, for any number of tokens.
    Ring(RingOptions),
}

/// What a ring is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RingOptions {
    /// Bytes it may take; 0 for what the context's tokens take at the most precise bits.
    pub bytes: u64,
    /// Bits of a code.
    pub bits: RingBits,
}

/// Who says how many bits a chunk has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RingBits {
    /// The model's own policy if it has one, else four bits and then two.
    #[default]
    Auto,
    /// The caller, for all chunks alike, from when they are new to when they are old.
    Ladder(Ladder),
    /// The model's own policy, chunk by chunk: at most this many bits of a code on average, or as
    /// many as let the whole context fit. There are fewer, at its dearer prices, when room is
    /// short.
    Learned(Option<f32>),
}
