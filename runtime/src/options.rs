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

/// How a model is opened. Without more it runs on the processor, with all its threads.
///
/// ```
/// use std::time::Duration;
///
/// use hardtack::{Engine, Options};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let options = Options::new().threads(2).memory_max(64 << 20).awake(Duration::ZERO);
/// let engine = Engine::open_with("tests/data/tiny.tack", &options)?;
/// assert_eq!(engine.threads(), 2);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// What the model runs on.
    pub device: DeviceChoice,
    /// The session that a device must have room for if [`DeviceChoice::Auto`] is to take it.
    pub session: SessionOptions,
    /// Folder where kernels that were compiled for a GPU are kept for the next time; without one
    /// they are compiled anew.
    pub kernel_cache: Option<PathBuf>,
    /// Threads; as many as the processor has if absent.
    pub threads: Option<usize>,
    /// How long idle threads wait awake for more work before they sleep; 100 µs if absent. Shorter
    /// saves a battery, and costs speed where tokens are small.
    pub awake: Option<Duration>,
    /// Name of a tier of kernels; the fastest if absent.
    pub kernels: Option<String>,
    /// How the weights come into memory.
    pub load: Load,
    /// Whether every hash of the blob is checked first, which reads the whole file.
    pub verify: bool,
    /// Most bytes that weights, tokenizer, caches, scratch and the process may take together, the
    /// host's memory and a device's added up. A model that cannot fit is refused before its
    /// weights are read, a session before it is made.
    pub memory_max: Option<u64>,
    /// Whether a model or a session is also refused that needs more than the system would give,
    /// where `memory_max` says nothing. It is by default: the system would end the process later,
    /// without a word.
    pub system_memory: SystemMemory,
}

impl Options {
    /// On the processor, with all its threads.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what the model runs on.
    #[must_use]
    pub const fn device(mut self, device: DeviceChoice) -> Self {
        self.device = device;
        self
    }

    /// Sets the session that a device must have room for.
    #[must_use]
    pub const fn session(mut self, session: SessionOptions) -> Self {
        self.session = session;
        self
    }

    /// Sets the folder of compiled kernels.
    #[must_use]
    pub fn kernel_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.kernel_cache = Some(folder.into());
        self
    }

    /// Sets how many threads there are.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Sets how long idle threads wait awake.
    #[must_use]
    pub const fn awake(mut self, awake: Duration) -> Self {
        self.awake = Some(awake);
        self
    }

    /// Sets the tier of kernels by its name.
    #[must_use]
    pub fn kernels(mut self, name: impl Into<String>) -> Self {
        self.kernels = Some(name.into());
        self
    }

    /// Sets how the weights come into memory.
    #[must_use]
    pub const fn load(mut self, load: Load) -> Self {
        self.load = load;
        self
    }

    /// Sets whether every hash of the blob is checked first.
    #[must_use]
    pub const fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Sets the most bytes that everything may take together.
    #[must_use]
    pub const fn memory_max(mut self, bytes: u64) -> Self {
        self.memory_max = Some(bytes);
        self
    }

    /// Sets whether what the system would give is a limit too.
    #[must_use]
    pub const fn system_memory(mut self, system_memory: SystemMemory) -> Self {
        self.system_memory = system_memory;
        self
    }
}

/// What a model runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
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
///
/// ```
/// use hardtack::{Engine, KvPrecision, RingOptions, SessionOptions};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// let exact = SessionOptions::new().context(1024);
/// let endless = SessionOptions::new().kv(KvPrecision::Ring(RingOptions::new().bytes(256 << 10)));
/// assert_eq!(engine.session(&exact)?.capacity(), 1024);
/// assert!(engine.session(&endless)?.capacity() > 1 << 30);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Tokens that it can keep; if absent, the trained context, at most [`CONTEXT_DEFAULT`]. A
    /// ring goes on for ever and keeps none further apart than this; if absent, the whole trained
    /// context.
    pub context: Option<usize>,
    /// Tokens of a prompt processed at once.
    pub batch: usize,
    /// How keys and values are kept.
    pub kv: KvPrecision,
}

impl SessionOptions {
    /// The smallest session there can be: a model that leaves no room for it is refused before it
    /// is read.
    pub(crate) const LEAST: Self = Self { context: Some(1), batch: 1, kv: KvPrecision::F16 };

    /// An exact cache of f16 for the usual context.
    pub const fn new() -> Self {
        Self { context: None, batch: BATCH_DEFAULT, kv: KvPrecision::F16 }
    }

    /// Sets how many tokens it can keep.
    #[must_use]
    pub const fn context(mut self, tokens: usize) -> Self {
        self.context = Some(tokens);
        self
    }

    /// Sets how many tokens of a prompt are processed at once.
    #[must_use]
    pub const fn batch(mut self, tokens: usize) -> Self {
        self.batch = tokens;
        self
    }

    /// Sets how keys and values are kept.
    #[must_use]
    pub const fn kv(mut self, kv: KvPrecision) -> Self {
        self.kv = kv;
        self
    }
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
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
///
/// ```
/// use hardtack::{KvPrecision, Ladder, RingBits, RingOptions};
///
/// // Eight bits while a chunk is new, four when it is old, 16 MiB in all.
/// let ladder = Ladder::new(&[[8, 8], [4, 4]])?;
/// let ring = RingOptions::new().bytes(16 << 20).bits(RingBits::Ladder(ladder));
/// let kv = KvPrecision::Ring(ring);
/// # Ok::<_, hardtack::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RingOptions {
    /// Bytes it may take; what the context's tokens take at the most precise bits if absent.
    pub bytes: Option<u64>,
    /// Bits of a code.
    pub bits: RingBits,
}

impl RingOptions {
    /// As large as the context needs, with the model's own bits if it has a policy.
    pub const fn new() -> Self {
        Self { bytes: None, bits: RingBits::Auto }
    }

    /// Sets the bytes it may take.
    #[must_use]
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Sets who says how many bits a chunk has.
    #[must_use]
    pub const fn bits(mut self, bits: RingBits) -> Self {
        self.bits = bits;
        self
    }
}

/// Who says how many bits a chunk has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
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
