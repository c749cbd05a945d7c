//! The command line: every flag with its unit, its default and its meaning.

mod bake;
mod eval;
mod memory;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hardtack::format::Encoding;
use hardtack::{Ladder, RingBits};

use crate::size::parse_bytes;

#[cfg(feature = "calibrate")]
pub use bake::AllocationArgument;
pub use bake::BakeArguments;
pub use eval::{
    BootstrapArguments, DivergenceArguments, EvalArguments, Evaluation, LogitsArguments, NeedleArguments,
    PerplexityArguments, StreamArguments, TasksArguments, WindowArguments,
};
pub use memory::MemoryArgument;
use memory::parse_memory;

/// Bakes language models into one file under a byte budget, and runs them offline.
#[derive(Debug, Parser)]
#[command(name = "hardtack", version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bake a checkpoint into a blob
    Bake(BakeArguments),
    /// Talk with a model
    Chat(ChatArguments),
    /// Continue a text
    Run(RunArguments),
    /// Show what is in a blob
    Inspect(InspectArguments),
    /// Judge a model
    Eval(EvalArguments),
    /// Measure speed beside this machine's bandwidth (which takes up to 512 MiB of a GPU of its own)
    Bench(BenchArguments),
}

#[derive(Debug, Args)]
pub struct EngineArguments {
    /// What the model runs on
    #[arg(long, value_enum, default_value_t = DeviceArgument::Cpu)]
    pub device: DeviceArgument,
    /// Threads; 0 for as many as the processor has. A GPU's work needs but one
    #[arg(short, long, default_value_t = 0)]
    pub threads: usize,
    /// Tier of kernels (scalar, portable, avx2, avx2+vnni, avx512+vnni, neon, neon+dotprod, neon+i8mm); without it, the fastest
    #[arg(long, value_name = "NAME")]
    pub kernels: Option<String>,
    /// How the weights come into memory
    #[arg(long, value_enum, default_value_t = LoadArgument::Mmap)]
    pub load: LoadArgument,
    /// Check every hash of the blob first, which reads the whole file
    #[arg(long)]
    pub verify: bool,
    /// Most bytes for weights, tokenizer, keys and values, buffers and the process together, in the machine's memory and a
    /// GPU's: refuses to start if it needs more. Without it, what the machine and its control group (as a container has one)
    /// have left, of mapped weights only what a token reads; `none` goes on whatever they have
    #[arg(long, value_parser = parse_memory, value_name = "BYTES|none")]
    pub memory: Option<MemoryArgument>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DeviceArgument {
    /// The processor
    Cpu,
    /// The first NVIDIA GPU
    Cuda,
    /// The first NVIDIA GPU if there is one and the model fits it, else the processor
    Auto,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LoadArgument {
    /// Mapped from the file
    Mmap,
    /// Read into memory before the first token
    Resident,
}

#[derive(Debug, Args)]
pub struct SessionArguments {
    /// Tokens the session can keep; 0 for the trained context, at most 4096. With `--kv` or `--kv-bits` tokens further apart
    /// than this do not see each other; 0 for the trained context
    #[arg(long, default_value_t = 0, value_name = "TOKENS")]
    pub ctx: usize,
    /// Tokens of a prompt that are processed at once
    #[arg(long, default_value_t = hardtack::plan::BATCH_DEFAULT, value_name = "TOKENS")]
    pub batch: usize,
    #[command(flatten)]
    pub kv: KvArguments,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct KvArguments {
    /// How keys and values are kept where neither `--kv` nor `--kv-bits` is given: exactly, until the context is full
    #[arg(long, value_enum, default_value_t = KvArgument::F16)]
    pub kv_type: KvArgument,
    /// Keep keys and values in a ring of this size, in which a text can go on for ever; without it, and with `--kv-bits`,
    /// what the context takes
    #[arg(long, value_parser = parse_bytes, conflicts_with = "kv_type", value_name = "BYTES")]
    pub kv: Option<u64>,
    /// Bits of the ring's keys and values from new to old, such as 4, or 8,4,2 to lose bits before anything is forgotten, or
    /// 6/4,4/2 for keys and values apart; or `learned` for what the model's own policy chooses chunk by chunk, `learned:4` for
    /// at most 4 bits on average. Without it a model's own policy is taken, or 4,2 where there is none
    #[arg(long, value_parser = parse_ring_bits, conflicts_with = "kv_type", value_name = "BITS")]
    pub kv_bits: Option<RingBits>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KvArgument {
    F16,
    F32,
}

#[derive(Debug, Args)]
pub struct SamplingArguments {
    /// Divides the logits; 0 always takes the likeliest token
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f32,
    /// Consider this many of the likeliest tokens; 0 for all
    #[arg(long, default_value_t = 40)]
    pub top_k: usize,
    /// Consider the fewest likeliest tokens whose probabilities reach this sum
    #[arg(long, default_value_t = 0.95)]
    pub top_p: f32,
    /// Consider tokens at least this probable as a share of the likeliest
    #[arg(long, default_value_t = 0.05)]
    pub min_p: f32,
    /// Weaken tokens among the last 64; 1 for none
    #[arg(long, default_value_t = 1.0)]
    pub repetition_penalty: f32,
    /// The same seed gives the same text
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Most new tokens of an answer
    #[arg(short = 'n', long, default_value_t = 512)]
    pub max_tokens: usize,
    /// End the answer where this text appears (up to 8 times)
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ChatArguments {
    /// The blob
    pub blob: PathBuf,
    /// What the model is told first
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Print the prompt that the model's template makes of every turn
    #[arg(long)]
    pub show_prompt: bool,
    /// Go on with the conversation in this file if there is one, and keep it there when leaving
    #[arg(long, value_name = "FILE")]
    pub session: Option<PathBuf>,
    #[command(flatten)]
    pub engine: EngineArguments,
    #[command(flatten)]
    pub cache: SessionArguments,
    #[command(flatten)]
    pub sampling: SamplingArguments,
}

#[derive(Debug, Args)]
pub struct RunArguments {
    /// The blob
    pub blob: PathBuf,
    /// The text to continue
    #[arg(short, long, value_name = "TEXT")]
    pub prompt: String,
    /// Put the text through the model's chat template as a user's message
    #[arg(long)]
    pub chat: bool,
    #[command(flatten)]
    pub engine: EngineArguments,
    #[command(flatten)]
    pub session: SessionArguments,
    #[command(flatten)]
    pub sampling: SamplingArguments,
}

#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The blob
    pub blob: PathBuf,
    /// Read the whole file and check every hash
    #[arg(long)]
    pub verify: bool,
    /// A line for every section, not one for a layer's experts together
    #[arg(long)]
    pub all: bool,
    /// Draw the bits of every expert, and its calibration traffic, into an SVG file
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Draw what a ring makes of this text instead: bits of keys and values by layer and position
    #[arg(long, value_name = "FILE", requires = "plot")]
    pub text: Option<PathBuf>,
    #[command(flatten)]
    pub kv: KvArguments,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct BenchArguments {
    /// The blob
    pub blob: PathBuf,
    /// Tokens of the prompt
    #[arg(short, long, default_value_t = 128, value_name = "TOKENS")]
    pub prompt: usize,
    /// Tokens decoded one by one
    #[arg(short = 'n', long, default_value_t = 64, value_name = "TOKENS")]
    pub decode: usize,
    /// Runs, of which the median counts
    #[arg(short, long, default_value_t = 5)]
    pub runs: usize,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub engine: EngineArguments,
    #[command(flatten)]
    pub session: SessionArguments,
}

fn parse_encoding(text: &str) -> Result<Encoding, String> {
    Encoding::from_name(text).ok_or_else(|| "expected 1, 2, 3, 4, 5, 6, 8, f16, bf16 or f32".to_owned())
}

fn parse_ring_bits(text: &str) -> Result<RingBits, String> {
    let expected = || "expected falling numbers out of 8, 6, 4, 3 and 2, or learned, or learned:BITS".to_owned();
    match text.strip_prefix("learned") {
        Some("") => return Ok(RingBits::Learned(None)),
        Some(rest) => {
            let bits = rest.strip_prefix(':').and_then(|bits| bits.parse().ok());
            return bits.map(|bits| RingBits::Learned(Some(bits))).ok_or_else(expected);
        }
        None => {}
    }
    let step = |step: &str| {
        let (keys, values) = step.split_once('/').unwrap_or((step, step));
        Some([keys.parse().ok()?, values.parse().ok()?])
    };
    let steps: Option<Vec<[u32; 2]>> = text.split(',').map(step).collect();
    steps.and_then(|steps| Ladder::new(&steps).ok()).map(RingBits::Ladder).ok_or_else(expected)
}
