//! A model as the commands open it: engine, tokenizer and sampler from the flags.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use hardtack::format::SectionKind;
use hardtack::text::Tokenizer;
use hardtack::{
    DeviceChoice, Engine, KvPrecision, Load, Options, RingOptions, Sampler, SamplerOptions, SessionOptions,
    SystemMemory,
};

use crate::args::{
    DeviceArgument, EngineArguments, KvArgument, KvArguments, LoadArgument, MemoryArgument, SamplingArguments,
    SessionArguments,
};
use crate::output::note;

/// Opens a blob as the flags say. A GPU that was not asked for by name is taken only if such a session fits there too.
pub fn open(blob: &Path, arguments: &EngineArguments, session: &SessionOptions) -> anyhow::Result<Engine> {
    let device = match arguments.device {
        DeviceArgument::Cpu => DeviceChoice::Cpu,
        DeviceArgument::Cuda => DeviceChoice::Cuda,
        DeviceArgument::Auto => DeviceChoice::Auto(*session),
    };
    let load = match arguments.load {
        LoadArgument::Mmap => Load::Mmap,
        LoadArgument::Resident => Load::Resident,
    };
    let options = Options {
        device,
        kernel_cache: cache_folder(),
        threads: arguments.threads,
        kernels: arguments.kernels.clone(),
        load,
        verify: arguments.verify,
        memory_max: match arguments.memory {
            Some(MemoryArgument::Bytes(bytes)) => Some(bytes),
            Some(MemoryArgument::None) | None => None,
        },
        system_memory: match arguments.memory {
            Some(MemoryArgument::None) => SystemMemory::Ignored,
            Some(MemoryArgument::Bytes(_)) | None => SystemMemory::Checked,
        },
    };
    let engine = Engine::open(blob, &options).map_err(with_way_out)?;
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
        hardtack::Error::SystemMemory { .. } => anyhow::anyhow!("{error}; --memory none goes on all the same"),
        error => error.into(),
    }
}

/// Where the user's other programs keep what can be made anew; nowhere if the system does not say.
fn cache_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
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
    format!("kernels {}, {threads} thread{}", engine.kernels().name, if threads == 1 { "" } else { "s" })
}

/// The blob's tokenizer.
pub fn tokenizer(engine: &Engine) -> anyhow::Result<Tokenizer> {
    let path = engine.path().display();
    let section = |kind: SectionKind| {
        let missing = || format!("{path}: no {} section: this blob speaks token ids only", kind.name());
        engine.section(kind).with_context(missing)
    };
    let (json, table) = (section(SectionKind::Tokenizer)?, section(SectionKind::Vocabulary)?);
    Tokenizer::from_sections(json, table).with_context(|| format!("{path}"))
}

/// Refuses two models that number their tokens differently.
pub fn ensure_same_vocabulary(model: &Engine, other: &Engine) -> anyhow::Result<()> {
    let [found, expected] = [model, other].map(|engine| engine.network().spec.vocabulary);
    let (path, other) = (model.path().display(), other.path().display());
    ensure!(found == expected, "{path}: expected the vocabulary of {other}, {expected} tokens, found {found}");
    Ok(())
}

/// What a session is asked for.
pub fn session_options(arguments: &SessionArguments) -> SessionOptions {
    SessionOptions { context: arguments.ctx, batch: arguments.batch, kv: kv(&arguments.kv) }
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
    KvPrecision::Ring(RingOptions { bytes: arguments.kv.unwrap_or(0), bits: arguments.kv_bits.unwrap_or_default() })
}

/// How keys and values are kept exactly.
pub fn exact_kv(argument: KvArgument) -> KvPrecision {
    match argument {
        KvArgument::F16 => KvPrecision::F16,
        KvArgument::F32 => KvPrecision::F32,
    }
}

/// A sampler as the flags say.
pub fn sampler(engine: &Engine, arguments: &SamplingArguments) -> anyhow::Result<Sampler> {
    let options = SamplerOptions {
        temperature: arguments.temperature,
        top_k: arguments.top_k,
        top_p: arguments.top_p,
        min_p: arguments.min_p,
        repetition_penalty: arguments.repetition_penalty,
        seed: arguments.seed,
    };
    Ok(Sampler::new(options, engine.network().spec.vocabulary as usize)?)
}
