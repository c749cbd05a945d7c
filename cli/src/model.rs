//! A model as the commands open it: engine, tokenizer and sampler from the flags.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::ensure;
use hardtack::text::Tokenizer;
use hardtack::{
    Cancel, DeviceChoice, Engine, Error, KvPrecision, Load, Options, RingOptions, SamplerOptions,
    SessionOptions, SystemMemory, WriteOptions,
};

use crate::args::{
    DeviceArgument, EngineArguments, KvArgument, KvArguments, LoadArgument, MemoryArgument,
    SamplingArguments, Seed, SessionArguments,
};
use crate::interrupt::{self, Loading};
use crate::output::{note, warn};

/// Most threads that the runtime takes; it refuses more itself.
const THREADS_MAX: usize = 1024;

/// Opens a blob as the flags say. A GPU that was not asked for by name is taken only if such a
/// session fits there too.
pub fn open(
    blob: &Path,
    arguments: &EngineArguments,
    session: &SessionOptions,
) -> anyhow::Result<Engine> {
    let _loading = Loading::begin();
    let cores = thread::available_parallelism().map_or(usize::MAX, Into::into);
    if (cores + 1..=THREADS_MAX).contains(&arguments.threads) {
        warn(format_args!(
            "warning: {} threads on {cores} processor{} take turns and are slower than {cores}",
            arguments.threads,
            if cores == 1 { "" } else { "s" }
        ));
    }
    let device = match arguments.device {
        DeviceArgument::Cpu => DeviceChoice::Cpu,
        DeviceArgument::Cuda => DeviceChoice::Cuda,
        DeviceArgument::Auto => DeviceChoice::Auto,
    };
    let load = match arguments.load {
        LoadArgument::Mmap => Load::Mmap,
        LoadArgument::Resident => Load::Resident,
    };
    let mut options =
        Options::new().device(device).session(*session).load(load).verify(arguments.verify);
    options.kernel_cache = cache_folder();
    options.threads = given(arguments.threads);
    options.kernels.clone_from(&arguments.kernels);
    match arguments.memory {
        Some(MemoryArgument::Bytes(bytes)) => options.memory_max = Some(bytes),
        Some(MemoryArgument::None) => options.system_memory = SystemMemory::Ignored,
        None => {}
    }
    let engine = Engine::open_with(blob, &options).map_err(with_way_out)?;
    // A session that does not fit is refused before the tokenizer is read.
    engine.plan(session).map_err(with_way_out)?;
    if let Some(reason) = engine.passed_over() {
        note(format_args!("[no GPU: {reason}]"));
    }
    Ok(engine)
}

/// Says how to go on where the system has too little memory.
pub fn with_way_out(error: hardtack::Error) -> anyhow::Error {
    match error {
        hardtack::Error::SystemMemory { .. } => {
            anyhow::anyhow!("{error}; --memory none goes on all the same")
        }
        error => error.into(),
    }
}

/// Where the user's other programs keep what can be made anew; nowhere if the system does not say.
fn cache_folder() -> Option<PathBuf> {
    let folder = |name: &str| {
        std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute())
    };
    let caches = if cfg!(target_os = "windows") {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Caches"))
    } else {
        folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")))
    };
    caches.map(|caches| caches.join("hardtack"))
}

/// One line about what runs where.
pub fn describe(engine: &Engine) -> String {
    if let Some(device) = engine.device() {
        return format!("device {device}");
    }
    let threads = engine.threads();
    format!(
        "kernels {}, {threads} thread{}",
        engine.kernels().name,
        if threads == 1 { "" } else { "s" }
    )
}

/// The blob's tokenizer.
pub fn tokenizer(engine: &Engine) -> anyhow::Result<&Tokenizer> {
    let _loading = Loading::begin();
    engine.tokenizer().map_err(|error| match error {
        // The library's other errors about text do not know the file.
        error @ Error::NoText { .. } => error.into(),
        error => anyhow::Error::new(error).context(engine.path().display().to_string()),
    })
}

/// Refuses two models that number their tokens differently.
pub fn ensure_same_vocabulary(model: &Engine, other: &Engine) -> anyhow::Result<()> {
    let [found, expected] = [model, other].map(|engine| engine.network().spec.vocabulary);
    let (path, other) = (model.path().display(), other.path().display());
    ensure!(
        found == expected,
        "{path}: expected the vocabulary of {other}, {expected} tokens, found {found}"
    );
    Ok(())
}

/// Refuses to take this many bytes beside a session where `--memory` leaves no room for them.
///
/// # Errors
/// Their sum with the session's plan is over the limit.
pub fn ensure_room(
    engine: &Engine,
    options: &SessionOptions,
    arguments: &EngineArguments,
    bytes: u64,
    what: &str,
) -> anyhow::Result<()> {
    let Some(MemoryArgument::Bytes(limit)) = arguments.memory else { return Ok(()) };
    let planned = engine.plan(options)?.total_bytes();
    ensure!(
        planned.saturating_add(bytes) <= limit,
        "{what} take {bytes} bytes beside the {planned} that are planned, and the limit is {limit}; give more --memory, or \
         fewer tokens of the text"
    );
    Ok(())
}

/// A number of a flag whose 0 leaves the choice to the library.
pub fn given(number: usize) -> Option<usize> {
    Some(number).filter(|&number| number > 0)
}

/// What a session is asked for.
pub fn session_options(arguments: &SessionArguments) -> SessionOptions {
    let mut options = SessionOptions::new().batch(arguments.batch).kv(kv(&arguments.kv));
    options.context = given(arguments.ctx);
    options
}

/// How keys and values are kept.
pub fn kv(arguments: &KvArguments) -> KvPrecision {
    match (arguments.kv, arguments.kv_bits) {
        (None, None) => exact_kv(arguments.kv_type),
        _ => ring(arguments),
    }
}

/// Keys and values in a ring.
pub fn ring(arguments: &KvArguments) -> KvPrecision {
    let mut options = RingOptions::new().bits(arguments.kv_bits.unwrap_or_default());
    // `--kv 0` leaves the choice to the library.
    options.bytes = arguments.kv.filter(|&bytes| bytes > 0);
    KvPrecision::Ring(options)
}

/// How keys and values are kept exactly.
pub fn exact_kv(argument: KvArgument) -> KvPrecision {
    match argument {
        KvArgument::F16 => KvPrecision::F16,
        KvArgument::F32 => KvPrecision::F32,
    }
}

/// How texts are written, as the flags say.
pub fn write_options(session: SessionOptions, arguments: &SamplingArguments) -> WriteOptions {
    WriteOptions::new()
        .session(session)
        .sampling(sampler_options(arguments))
        .tokens_max(arguments.max_tokens.0)
        .stop(arguments.stop.iter().cloned())
        .cancel(Cancel::watching(interrupt::flag()))
}

fn sampler_options(arguments: &SamplingArguments) -> SamplerOptions {
    SamplerOptions::new()
        .temperature(arguments.temperature)
        .top_k(Some(arguments.top_k).filter(|&top_k| top_k > 0))
        .top_p(arguments.top_p)
        .min_p(arguments.min_p)
        .repetition_penalty(arguments.repetition_penalty)
        .seed(arguments.seed.and_then(|Seed(seed)| seed).unwrap_or(0))
}
