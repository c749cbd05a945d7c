//! An open model: the blob's bytes, its network, a tier of kernels and the threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hardtack_format::{Blob, FormatError, Network, SectionKind};
use hardtack_kernels::KernelTable;

use crate::backend::cpu::Cpu;
use crate::backend::pool::Pool;
use crate::backend::tiers;
use crate::error::Error;
use crate::os::{BlobFile, Load};
use crate::plan::{Fixed, Plan, SessionOptions, plan};
use crate::session::Session;

/// Most threads.
pub const THREADS_MAX: usize = 1024;

/// How a model is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads; 0 for as many as the processor has.
    pub threads: usize,
    /// Name of a tier of kernels; the fastest if absent.
    pub kernels: Option<String>,
    /// How the weights come into memory.
    pub load: Load,
    /// Whether every hash of the blob is checked first, which reads the whole file.
    pub verify: bool,
    /// Most bytes that weights, tokenizer, cache, buffers and the process may take together. A model that cannot fit is
    /// refused before its weights are read, a session before it is made.
    pub memory_max: Option<u64>,
}

/// An open model. Clones share it.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    file: BlobFile,
    path: PathBuf,
    network: Network,
    fixed: Fixed,
    memory_max: Option<u64>,
    kernels: &'static KernelTable,
    pool: Pool,
}

impl Engine {
    /// Opens a blob and checks it whole, weights' content excepted.
    ///
    /// # Errors
    /// The file cannot be read or is not a valid blob, the kernels are not available, or the threads cannot be started.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let path = path.as_ref();
        let unreadable = |source| Error::File { path: path.to_owned(), source };
        let invalid = |source| Error::Blob { path: path.to_owned(), source };
        let mut file = BlobFile::map(path).map_err(unreadable)?;
        let (mut network, fixed) = bind(&file, options.verify).map_err(invalid)?;
        // The smallest session there can be: a model that leaves no room for it is refused before it is read.
        let least = SessionOptions { context: 1, batch: 1, ..SessionOptions::default() };
        plan(&network, fixed, &least, options.memory_max)?;
        match options.load {
            Load::Mmap => file.read_ahead(),
            Load::Resident => {
                file = BlobFile::read(path).map_err(unreadable)?;
                // What was read may be another file by now.
                (network, _) = bind(&file, options.verify).map_err(invalid)?;
            }
        }
        let kernels = tiers::choose(options.kernels.as_deref())?;
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let pool = start_threads(threads)?;
        Ok(Self {
            shared: Arc::new(Shared {
                file,
                path: path.to_owned(),
                network,
                fixed,
                memory_max: options.memory_max,
                kernels,
                pool,
            }),
        })
    }

    /// The network: its numbers and its tensors.
    pub fn network(&self) -> &Network {
        &self.shared.network
    }

    /// The tier of kernels in use.
    pub fn kernels(&self) -> &'static KernelTable {
        self.shared.kernels
    }

    /// Threads in use.
    pub fn threads(&self) -> usize {
        self.shared.pool.threads()
    }

    /// Where the blob is.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The blob itself: its sections and their bytes.
    ///
    /// # Panics
    /// If the file was changed by someone else after it was opened.
    pub fn blob(&self) -> Blob<'_> {
        Blob::open(&self.shared.file).expect("the file was valid when it was opened")
    }

    /// All bytes of the blob, where they lie.
    pub fn bytes(&self) -> &[u8] {
        &self.shared.file
    }

    /// The bytes of a section of which the blob has one, such as the tokenizer.
    pub fn section(&self, kind: SectionKind) -> Option<&[u8]> {
        self.blob().plain(kind)
    }

    /// What a session would take, byte for byte.
    ///
    /// # Errors
    /// An option outside its range, or more memory than allowed.
    pub fn plan(&self, options: &SessionOptions) -> Result<Plan, Error> {
        plan(self.network(), self.shared.fixed, options, self.shared.memory_max)
    }

    /// Starts a session: all its memory is allocated here.
    ///
    /// # Errors
    /// An option outside its range, or more memory than allowed or than the system has.
    pub fn session(&self, options: &SessionOptions) -> Result<Session, Error> {
        Session::new(self.clone(), &self.plan(options)?)
    }

    pub(crate) fn cpu(&self) -> Cpu<'_> {
        Cpu { kernels: self.shared.kernels, file: &self.shared.file, pool: &self.shared.pool }
    }
}

fn bind(file: &[u8], verify: bool) -> Result<(Network, Fixed), FormatError> {
    let blob = Blob::open(file)?;
    if verify {
        blob.verify()?;
    }
    let network = Network::bind(&blob)?;
    let fixed = Fixed::of(&blob, &network);
    Ok((network, fixed))
}

fn start_threads(threads: usize) -> Result<Pool, Error> {
    if threads > THREADS_MAX {
        let expected = format!("1 to {THREADS_MAX}");
        return Err(Error::Setting { setting: "threads", expected, found: threads.to_string() });
    }
    Pool::new(threads)
}
