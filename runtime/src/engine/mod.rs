//! An open model: the blob's bytes, its network, a tier of kernels and the threads.

mod opened;

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
#[cfg(feature = "text")]
use std::sync::OnceLock;
use std::time::Duration;

use hardtack_format::{Blob, Index, Network, SectionKind};
use hardtack_kernels::KernelTable;

use self::opened::{Opened, Source};
use crate::cache::KvPrecision;
use crate::cpu::multiply::Cpu;
use crate::cpu::pool::{AWAKE, Pool};
use crate::cpu::tiers;
use crate::device::DeviceChoice;
use crate::error::Error;
#[cfg(feature = "cuda")]
use crate::gpu;
use crate::memory::{self, SystemMemory};
use crate::os::{BlobFile, Load};
use crate::plan::{Fixed, Plan, SessionOptions, plan};
use crate::reserved::Reservations;
use crate::sample::{Sampler, SamplerOptions};
use crate::session::Session;
#[cfg(feature = "text")]
use crate::text::Tokenizer;

pub use crate::cpu::pool::THREADS_MAX;

/// How a model is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the model runs on.
    pub device: DeviceChoice,
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
    /// Most bytes that weights, tokenizer, cache, buffers and the process may take together, the
    /// host's memory and a device's added up. A model that cannot fit is refused before its
    /// weights are read, a session before it is made.
    pub memory_max: Option<u64>,
    /// Whether a model or a session is also refused that needs more than the system would give,
    /// where `memory_max` says nothing. It is unless told otherwise: the system would end the
    /// process later, without a word.
    pub system_memory: SystemMemory,
}

/// An open model. Clones share it.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    file: Arc<BlobFile>,
    index: Index,
    path: PathBuf,
    place: Place,
    passed_over: Option<String>,
    fixed: Fixed,
    limits: Limits,
    sessions: Reservations,
    kernels: &'static KernelTable,
    pool: Pool,
    /// Read when it is first asked for: not everybody needs text.
    #[cfg(feature = "text")]
    tokenizer: OnceLock<Tokenizer>,
}

/// Where the network runs.
enum Place {
    /// On the processor.
    Cpu(Box<Network>),
    /// On a device.
    #[cfg(feature = "cuda")]
    Cuda(Arc<gpu::DeviceModel>),
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

    /// Opens a blob that is a part of an open file: bytes `range` of it, as an asset stands in an
    /// Android package. A file descriptor becomes a file by `File::from(descriptor)`. The place of
    /// the file's next reading does not change, and the file need not stay open.
    ///
    /// Mapped, the blob must begin at a multiple of 64 bytes of the file, and its sections keep
    /// their pages to themselves if it begins at a multiple of 16 KiB. Read into memory
    /// ([`Load::Resident`]), it may begin anywhere.
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

    /// Opens a blob that is a part of the program, where it is: nothing is copied. It must begin at
    /// a multiple of 64 bytes.
    ///
    /// # Errors
    /// As [`Engine::open_with`]; or it begins elsewhere.
    pub fn from_static(bytes: &'static [u8], options: &Options) -> Result<Self, Error> {
        Self::of(&Source::Static(bytes), options)
    }

    fn of(source: &Source<'_>, options: &Options) -> Result<Self, Error> {
        match options.device {
            DeviceChoice::Cpu => Self::on_cpu(source, options, None),
            DeviceChoice::Cuda => Self::on_first_gpu(source, options, &LEAST),
            DeviceChoice::Auto(session) => match Self::on_first_gpu(source, options, &session) {
                Ok(engine) => Ok(engine),
                Err(error @ (Error::File { .. } | Error::Blob { .. } | Error::NotABlob { .. })) => {
                    Err(error)
                }
                Err(error) => Self::on_cpu(source, options, Some(error.to_string())),
            },
        }
    }

    /// Opens a blob on a device of the caller's, whatever the options say of devices.
    ///
    /// # Errors
    /// As [`Engine::open_with`].
    #[cfg(feature = "cuda")]
    pub fn open_on(
        path: impl AsRef<Path>,
        options: &Options,
        device: gpu::SharedDevice,
    ) -> Result<Self, Error> {
        Self::on_device(&Source::Path(path.as_ref()), options, &LEAST, || Ok(device))
    }

    #[cfg(feature = "cuda")]
    fn on_first_gpu(
        source: &Source<'_>,
        options: &Options,
        session: &SessionOptions,
    ) -> Result<Self, Error> {
        Self::on_device(source, options, session, || {
            gpu::first_gpu(options.kernel_cache.as_deref())
        })
    }

    #[cfg(not(feature = "cuda"))]
    fn on_first_gpu(_: &Source<'_>, _: &Options, _: &SessionOptions) -> Result<Self, Error> {
        let expected = "cpu: this program was built without the feature `cuda`".to_owned();
        Err(Error::Setting { setting: "device", expected, found: "cuda".to_owned() })
    }

    fn on_cpu(
        source: &Source<'_>,
        options: &Options,
        passed_over: Option<String>,
    ) -> Result<Self, Error> {
        let mut opened = Opened::new(source, options)?;
        Limits::of(source, options).plan(&opened.network, opened.fixed, &LEAST)?;
        opened.read(source, options)?;
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let Opened { file, index, network, fixed } = opened;
        let place = Place::Cpu(Box::new(network));
        Self::new(source, options, (Arc::new(file), index, fixed), place, passed_over, threads)
    }

    /// Opens a blob on a device if such a session fits there too. The device is opened behind the
    /// file, which is refused first where it is none.
    #[cfg(feature = "cuda")]
    fn on_device(
        source: &Source<'_>,
        options: &Options,
        session: &SessionOptions,
        device: impl FnOnce() -> Result<gpu::SharedDevice, Error>,
    ) -> Result<Self, Error> {
        let mut opened = Opened::new(source, options)?;
        let device = device()?;
        opened.fixed.device = Some(gpu::weights(&device, &opened.file, &opened.network)?);
        gpu::check_room(
            &device,
            &plan(&opened.network, opened.fixed, session, options.memory_max)?,
        )?;
        opened.read(source, options)?;
        let Opened { file, index, network: _, mut fixed } = opened;
        let file = Arc::new(file);
        let (model, weights) = gpu::load(device, file.clone())?;
        // Memory that the device could not read in place was copied after all.
        fixed.device = Some(weights);
        plan(model.network(), fixed, session, options.memory_max)?;
        Self::new(source, options, (file, index, fixed), Place::Cuda(model), None, 1)
    }

    fn new(
        source: &Source<'_>,
        options: &Options,
        (file, index, fixed): (Arc<BlobFile>, Index, Fixed),
        place: Place,
        passed_over: Option<String>,
        threads: usize,
    ) -> Result<Self, Error> {
        let (path, limits) = (source.name(), Limits::of(source, options));
        let (kernels, pool) = (
            tiers::choose(options.kernels.as_deref())?,
            Pool::new(threads, options.awake.unwrap_or(AWAKE))?,
        );
        Ok(Self {
            shared: Arc::new(Shared {
                file,
                index,
                path,
                place,
                passed_over,
                fixed,
                limits,
                sessions: Reservations::default(),
                kernels,
                pool,
                #[cfg(feature = "text")]
                tokenizer: OnceLock::new(),
            }),
        })
    }

    /// The network: its numbers and its tensors.
    pub fn network(&self) -> &Network {
        match &self.shared.place {
            Place::Cpu(network) => network,
            #[cfg(feature = "cuda")]
            Place::Cuda(model) => model.network(),
        }
    }

    /// The device that the model runs on, for people; none is the processor.
    pub fn device(&self) -> Option<String> {
        #[cfg(feature = "cuda")]
        if let Place::Cuda(model) = &self.shared.place {
            return Some(hardtack_kernels_cuda::Device::name(model.device()));
        }
        None
    }

    /// Why [`DeviceChoice::Auto`] took the processor, if it did.
    pub fn passed_over(&self) -> Option<&str> {
        self.shared.passed_over.as_deref()
    }

    /// Bytes a second that the device's memory reads and writes while `bytes` of it are copied,
    /// both counted; none for the processor. Twice as many bytes are allocated meanwhile, outside
    /// any plan.
    ///
    /// # Errors
    /// The device has no such room, or fails.
    pub fn copy_bandwidth(&self, bytes: u64) -> Result<Option<f64>, Error> {
        #[cfg(feature = "cuda")]
        if let Place::Cuda(model) = &self.shared.place {
            return gpu::copy_bandwidth(model.device(), bytes).map(Some);
        }
        _ = bytes;
        Ok(None)
    }

    /// The tier of the processor's kernels in use.
    pub fn kernels(&self) -> &'static KernelTable {
        self.shared.kernels
    }

    /// Threads in use; 1 on a device.
    pub fn threads(&self) -> usize {
        self.shared.pool.threads()
    }

    /// Where the blob is; for one without a path of its own, what messages call it.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The blob itself: its sections and their bytes, where they were when it was opened.
    pub fn blob(&self) -> Blob<'_> {
        self.shared.index.blob(&self.shared.file).expect("a mapping keeps its length")
    }

    /// All bytes of the blob, where they lie.
    pub fn bytes(&self) -> &[u8] {
        &self.shared.file
    }

    /// The bytes of a section of which the blob has one, such as the tokenizer.
    pub fn section(&self, kind: SectionKind) -> Option<&[u8]> {
        self.blob().plain(kind)
    }

    /// The blob's tokenizer. It is read when it is first asked for.
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
        self.shared.limits.plan(self.network(), self.shared.fixed, options)
    }

    /// Starts a session: all its memory is allocated here. [`Options::memory_max`] holds for all
    /// sessions of the engine together.
    ///
    /// # Errors
    /// An option outside its range, or more memory than allowed or than the system has.
    pub fn session(&self, options: &SessionOptions) -> Result<Session, Error> {
        let Shared { limits, fixed, sessions, .. } = &*self.shared;
        let (plan, reserved) = sessions.take(|taken| {
            let plan = limits.beside(taken).plan(self.network(), *fixed, options);
            let plan = plan.map_err(|error| limits.counting(taken, error))?;
            Ok((plan, plan.kv_bytes.saturating_add(plan.scratch_bytes)))
        })?;
        Session::new(self.clone(), &plan, options, reserved)
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn device_model(&self) -> Option<&Arc<gpu::DeviceModel>> {
        match &self.shared.place {
            Place::Cpu(_) => None,
            Place::Cuda(model) => Some(model),
        }
    }

    pub(crate) fn cpu(&self) -> Cpu<'_> {
        Cpu { kernels: self.shared.kernels, file: &self.shared.file, pool: &self.shared.pool }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Engine").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

/// The smallest session there can be: a model that leaves no room for it is refused before it is
/// read.
const LEAST: SessionOptions = SessionOptions { context: 1, batch: 1, kv: KvPrecision::F16 };

/// What every plan is held to.
#[derive(Clone, Copy)]
struct Limits {
    memory_max: Option<u64>,
    system_memory: SystemMemory,
    load: Load,
}

impl Limits {
    fn of(source: &Source<'_>, options: &Options) -> Self {
        let &Options { memory_max, system_memory, load, .. } = options;
        Self { memory_max, system_memory, load: source.load(load) }
    }

    /// What other sessions leave of them.
    fn beside(self, taken: u64) -> Self {
        Self { memory_max: self.memory_max.map(|most| most.saturating_sub(taken)), ..self }
    }

    /// A refusal for what other sessions leave, in terms of the whole.
    fn counting(&self, taken: u64, error: Error) -> Error {
        match (error, self.memory_max) {
            (Error::Memory { needed, parts, advice, .. }, Some(limit)) if taken > 0 => {
                let parts = format!("{parts}, other sessions {taken}");
                Error::Memory { needed: needed.saturating_add(taken), parts, limit, advice }
            }
            (error, _) => error,
        }
    }

    /// Decides every byte of a session, within what the caller allows or the system would give.
    fn plan(
        &self,
        network: &Network,
        fixed: Fixed,
        options: &SessionOptions,
    ) -> Result<Plan, Error> {
        // A device has its own check; what it leaves to the host is little.
        let checked = self.system_memory == SystemMemory::Checked && fixed.device.is_none();
        let room = memory::available().filter(|_| self.memory_max.is_none() && checked);
        let Some(room) = room else { return plan(network, fixed, options, self.memory_max) };
        let bound = room.bound;
        let resident = fixed.resident_bytes(self.load);
        // What the process has of it already is not taken again.
        let had = memory::anonymous_bytes().min(resident);
        let paged = fixed.total_bytes() - resident;
        let limit = room.bytes.saturating_add(had).saturating_add(paged);
        plan(network, fixed, options, Some(limit)).map_err(|error| match error {
            Error::Memory { needed, parts, limit, advice } => {
                let (needed, room) = (needed - paged, limit - paged);
                Error::SystemMemory { needed, parts, room, bound, advice }
            }
            error => error,
        })
    }
}
