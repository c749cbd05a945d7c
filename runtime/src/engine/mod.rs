//! An open model: the blob's bytes, and its network where it runs.

mod limits;
mod open;
mod source;

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
#[cfg(feature = "text")]
use std::sync::OnceLock;

use hardtack_format::{Blob, Network, SectionKind};
use hardtack_kernels::KernelTable;

#[cfg(feature = "cuda")]
use self::open::on_device;
use self::open::{Running, open};
use self::source::Source;
use crate::backend::Backend;
use crate::error::Error;
#[cfg(feature = "cuda")]
use crate::gpu::device::SharedDevice;
use crate::options::{Options, SessionOptions};
use crate::plan::Plan;
use crate::reserved::{Reservations, Reserved};
use crate::sample::{Sampler, SamplerOptions};
#[cfg(feature = "text")]
use crate::text::Tokenizer;

/// An open model: the blob, its threads and its device. Clones share it.
///
/// ```
/// use hardtack::{ChatOptions, Engine, SamplerOptions, SessionOptions};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// // Everything else is made by it.
/// let tokens = engine.tokenizer()?.prompt("Once upon a time")?;
/// let sampler = engine.sampler(SamplerOptions::new().temperature(0.8))?;
/// let session = engine.session(&SessionOptions::default())?;
/// let chat = engine.chat(ChatOptions::new())?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    running: Running,
    sessions: Reservations,
    /// Read when it is first used: not everybody needs text.
    #[cfg(feature = "text")]
    tokenizer: OnceLock<Tokenizer>,
}

impl Engine {
    /// Opens a blob on the processor and checks it whole, weights' content excepted.
    ///
    /// # Errors
    /// As [`Engine::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, &Options::default())
    }

    /// Opens a blob as the options say and checks it whole, weights' content excepted.
    ///
    /// # Errors
    /// The file cannot be read or is not a valid blob, the kernels are not available, the threads
    /// cannot be started, or the device that was asked for is not there, has no room or fails.
    pub fn open_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        Self::of(&Source::Path(path.as_ref()), options)
    }

    /// Opens a blob that is a part of an open file: bytes `range` of it, as of an asset in an
    /// Android package. A file descriptor becomes a file by `File::from(descriptor)`. The place of
    /// the file's next reading does not change, and the file need not stay open.
    ///
    /// Mapped, the blob must begin at a multiple of 64 bytes of the file, and its sections keep
    /// their pages to themselves if it begins at a multiple of 16 KiB. Read into memory
    /// ([`Load::Resident`](crate::Load::Resident)), it may begin anywhere.
    ///
    /// # Errors
    /// As [`Engine::open_with`]; or the range is no part of the file, or begins where it cannot be
    /// mapped.
    pub fn open_file(file: &File, range: Range<u64>, options: &Options) -> Result<Self, Error> {
        Self::of(&Source::File(file, range), options)
    }

    /// Opens a blob in memory. It is copied, whatever the options say of loading, and need not be
    /// aligned.
    ///
    /// # Errors
    /// As [`Engine::open_with`]; or there is no room for the copy.
    pub fn from_bytes(bytes: &[u8], options: &Options) -> Result<Self, Error> {
        Self::of(&Source::Bytes(bytes), options)
    }

    /// Opens a blob that is a part of the program, where it is, without a copy. It must begin at
    /// a multiple of 64 bytes.
    ///
    /// # Errors
    /// As [`Engine::open_with`]; or it begins elsewhere.
    pub fn from_static(bytes: &'static [u8], options: &Options) -> Result<Self, Error> {
        Self::of(&Source::Static(bytes), options)
    }

    fn of(source: &Source<'_>, options: &Options) -> Result<Self, Error> {
        open(source, options).map(Self::new)
    }

    /// Opens a blob on a device of the caller's, whatever the options say of devices.
    ///
    /// # Errors
    /// As [`Engine::open_with`].
    #[cfg(feature = "cuda")]
    pub fn open_on(
        path: impl AsRef<Path>,
        options: &Options,
        device: SharedDevice,
    ) -> Result<Self, Error> {
        let source = Source::Path(path.as_ref());
        on_device(&source, options, &SessionOptions::LEAST, || Ok(device)).map(Self::new)
    }

    fn new(running: Running) -> Self {
        Self {
            shared: Arc::new(Shared {
                running,
                sessions: Reservations::default(),
                #[cfg(feature = "text")]
                tokenizer: OnceLock::new(),
            }),
        }
    }

    /// The network: its numbers and its tensors.
    pub fn network(&self) -> &Network {
        self.backend().network()
    }

    /// The device that the model runs on, for people; none is the processor.
    pub fn device(&self) -> Option<String> {
        self.backend().device()
    }

    /// Why [`DeviceChoice::Auto`](crate::DeviceChoice::Auto) took the processor, if it did.
    pub fn passed_over(&self) -> Option<&str> {
        self.shared.running.passed_over.as_deref()
    }

    /// Bytes a second that the device's memory reads and writes while `bytes` of it are copied,
    /// both counted; none for the processor. Twice as many bytes are allocated meanwhile, outside
    /// any plan.
    ///
    /// # Errors
    /// The device has no such room, or fails.
    pub fn copy_bandwidth(&self, bytes: u64) -> Result<Option<f64>, Error> {
        self.backend().copy_bandwidth(bytes)
    }

    /// The tier of the processor's kernels in use.
    pub fn kernels(&self) -> &'static KernelTable {
        self.shared.running.kernels
    }

    /// Threads in use; 1 on a device.
    pub fn threads(&self) -> usize {
        self.backend().threads()
    }

    /// Where the blob is; for one without a path of its own, what messages call it.
    pub fn path(&self) -> &Path {
        &self.shared.running.path
    }

    /// The blob itself: its sections and their bytes, where they were when it was opened.
    pub fn blob(&self) -> Blob<'_> {
        self.shared
            .running
            .index
            .blob(&self.shared.running.file)
            .expect("a mapping keeps its length")
    }

    /// All bytes of the blob, where they lie.
    pub fn bytes(&self) -> &[u8] {
        &self.shared.running.file
    }

    /// The bytes of a section of which the blob has one, such as the tokenizer.
    pub fn section(&self, kind: SectionKind) -> Option<&[u8]> {
        self.blob().plain(kind)
    }

    /// The blob's tokenizer. It is read when it is first used.
    ///
    /// # Errors
    /// The blob has none, or one that cannot be read.
    #[cfg(feature = "text")]
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        if let Some(tokenizer) = self.shared.tokenizer.get() {
            return Ok(tokenizer);
        }
        let section = |kind: SectionKind| {
            let (path, advice) = (self.path().to_owned(), "this blob speaks token ids only");
            self.section(kind).ok_or(Error::NoText { path, section: kind.name(), advice })
        };
        let (json, table) = (section(SectionKind::Tokenizer)?, section(SectionKind::Vocabulary)?);
        let tokenizer = Tokenizer::from_sections(json, table)?;
        Ok(self.shared.tokenizer.get_or_init(|| tokenizer))
    }

    /// A sampler for this model's logits.
    ///
    /// # Errors
    /// An option outside its range.
    pub fn sampler(&self, options: SamplerOptions) -> Result<Sampler, Error> {
        Sampler::new(options, self.network().spec.vocabulary as usize)
    }

    /// What a session would take, byte for byte.
    ///
    /// # Errors
    /// An option outside its range, or more memory than allowed.
    pub fn plan(&self, options: &SessionOptions) -> Result<Plan, Error> {
        let Running { limits, fixed, .. } = &self.shared.running;
        limits.plan(self.network(), *fixed, options)
    }

    /// What a session beside the others would take, and its bytes taken from what is left.
    pub(crate) fn reserve(&self, options: &SessionOptions) -> Result<(Plan, Reserved), Error> {
        let Running { limits, fixed, .. } = &self.shared.running;
        self.shared.sessions.take(|taken| {
            let plan = limits.beside(taken).plan(self.network(), *fixed, options);
            let plan = plan.map_err(|error| limits.counting(taken, error))?;
            Ok((plan, plan.kv_bytes.saturating_add(plan.scratch_bytes)))
        })
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.shared.running.backend
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Engine").field("path", &self.shared.running.path).finish_non_exhaustive()
    }
}
