//! The command line: every flag with its unit, its default and its meaning.

mod bake;
mod eval;
mod memory;
mod template;
mod values;

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::process;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hardtack::RingBits;

use crate::size::parse_bytes;
use values::{
    count, parse_encoding, parse_escapes, parse_ring_bits, parse_seed, parse_token_limit,
    tokens_at_once,
};

#[cfg(feature = "calibrate")]
pub use bake::AllocationArgument;
pub use bake::BakeArguments;
pub use eval::{
    BootstrapArguments, DivergenceArguments, EvalArguments, Evaluation, LogitsArguments,
    NeedleArguments, PerplexityArguments, StreamArguments, TasksArguments, WindowArguments,
};
pub use memory::MemoryArgument;
use memory::parse_memory;
use template::TemplateArguments;
pub use values::Seed;
use values::TokenLimit;

/// Bakes language models into one file under a byte budget, and runs them offline.
///
/// Sizes in bytes are written as 4096, 1e9, 512m, 2g, 2Gi, 1.5GiB (k, m, g, t and those with i are
/// powers of 1024) or 90MB, 2GB (kB, MB, GB and TB are powers of 1000).
///
/// Exit codes: 0 done, 1 failed, 2 the command line cannot be read, 130, 143 and 129 ended by
/// Ctrl-C, SIGTERM and SIGHUP.
#[derive(Debug, Parser)]
#[command(name = "hardtack", version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// Results, warnings and errors only: no notes and no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Colours and styles on a terminal; `auto` leaves them away where NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = ColorArgument::Auto, value_name = "WHEN")]
    pub color: ColorArgument,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorArgument {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Into files and pipes too
    Always,
    /// Nowhere
    Never,
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
    /// Measure speed beside this machine's bandwidth (which takes up to 512 MiB of a GPU of its
    /// own)
    Bench(BenchArguments),
    /// Write completions of the command line for a shell
    Completions(CompletionsArguments),
    /// Write a page of the manual, as `man -l` reads it
    Man(ManArguments),
}

#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct ManArguments {
    /// The command that the page is about, such as `run` or `eval ppl`; without it, the whole
    /// program
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct EngineArguments {
    /// What the model runs on
    #[arg(long, value_enum, default_value_t = DeviceArgument::Cpu)]
    pub device: DeviceArgument,
    /// Threads; 0 for as many as the processor has. A GPU's work needs but one
    #[arg(short, long, default_value_t = 0, value_parser = count(0), value_name = "COUNT")]
    pub threads: usize,
    /// Tier of kernels (scalar, portable, avx2, avx2+vnni, avx512+vnni, neon, neon+dotprod,
    /// neon+i8mm); without it, the fastest
    #[arg(long, value_name = "NAME")]
    pub kernels: Option<String>,
    /// How the weights come into memory
    #[arg(long, value_enum, default_value_t = LoadArgument::Mmap)]
    pub load: LoadArgument,
    /// Check every hash of the blob first, which reads the whole file
    #[arg(long)]
    pub verify: bool,
    /// Most bytes for weights, tokenizer, keys and values, buffers and the process together, in
    /// the machine's memory and a GPU's: refuses to start if it needs more. Without it, what the
    /// machine and its control group (as a container has one) have left, of mapped weights only
    /// what a token reads; `none` goes on whatever they have
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
    /// Tokens the session can keep; 0 for the trained context, at most 4096. With `--kv` or
    /// `--kv-bits` tokens further apart than this do not see each other; 0 for the trained context
    #[arg(long, default_value_t = 0, value_parser = count(0), value_name = "TOKENS")]
    pub ctx: usize,
    /// Tokens of a prompt that are processed at once
    #[arg(long, default_value_t = hardtack::BATCH_DEFAULT, value_parser = count(0), value_name = "TOKENS")]
    pub batch: usize,
    #[command(flatten)]
    pub kv: KvArguments,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct KvArguments {
    /// How keys and values are kept where neither `--kv` nor `--kv-bits` is given: exactly, until
    /// the context is full
    #[arg(long, value_enum, default_value_t = KvArgument::F16)]
    pub kv_type: KvArgument,
    /// Keep keys and values in a ring of this size, in which a text can go on for ever; without
    /// it, and with `--kv-bits`, what the context takes
    #[arg(long, value_parser = parse_bytes, conflicts_with = "kv_type", value_name = "BYTES")]
    pub kv: Option<u64>,
    /// Bits of the ring's keys and values from new to old, such as 4, or 8,4,2 to lose bits before
    /// anything is forgotten, or 6/4,4/2 for keys and values apart; or `learned` for what the
    /// model's own policy chooses chunk by chunk, `learned:4` for at most 4 bits on average.
    /// Without it a model's own policy is taken, or 4,2 where there is none
    #[arg(long, value_parser = parse_ring_bits, conflicts_with = "kv_type", value_name = "BITS")]
    pub kv_bits: Option<RingBits>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KvArgument {
    F16,
    F32,
}

#[derive(Clone, Debug, Args)]
pub struct SamplingArguments {
    /// Divides the logits; 0 always takes the likeliest token
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true, value_name = "NUMBER")]
    pub temperature: f32,
    /// Consider this many of the likeliest tokens; 0 for all
    #[arg(long, default_value_t = 40, value_parser = count(0), value_name = "TOKENS")]
    pub top_k: usize,
    /// Consider the fewest likeliest tokens whose probabilities reach this sum
    #[arg(long, default_value_t = 0.95, allow_negative_numbers = true, value_name = "NUMBER")]
    pub top_p: f32,
    /// Consider tokens at least this probable as a share of the likeliest
    #[arg(long, default_value_t = 0.05, allow_negative_numbers = true, value_name = "NUMBER")]
    pub min_p: f32,
    /// Weaken tokens among the last 64; 1 for none
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true, value_name = "NUMBER")]
    pub repetition_penalty: f32,
    /// The same seed gives the same text; without one, or with -1, a sampled text gets one that is
    /// random and printed
    #[arg(long, value_parser = parse_seed, allow_hyphen_values = true, value_name = "NUMBER")]
    pub seed: Option<Seed>,
    /// Most new tokens of an answer; -1 for no limit but the model's own end and the context's
    #[arg(short = 'n', long, default_value = "512", value_parser = parse_token_limit, allow_hyphen_values = true,
        value_name = "TOKENS")]
    pub max_tokens: TokenLimit,
    /// End the answer where this text appears (up to 8 times); \n, \t, \r, \\, \xHH and \u{HHHH}
    /// are read as in a shell
    #[arg(long, value_name = "TEXT", value_parser = parse_escapes, allow_hyphen_values = true)]
    pub stop: Vec<String>,
}

impl SamplingArguments {
    /// These settings with a seed, a random one where none was given, and that seed if it decides
    /// the text.
    pub fn settle(&self) -> (Self, Option<u64>) {
        // 32 bits: short enough to be typed again. The standard library's hash keys are random.
        let random = || RandomState::new().hash_one(process::id()) & u64::from(u32::MAX);
        let seed = self.seed.and_then(|Seed(seed)| seed).unwrap_or_else(random);
        let decides = self.temperature > 0.0;
        (Self { seed: Some(Seed(Some(seed))), ..self.clone() }, decides.then_some(seed))
    }
}

#[derive(Debug, Args)]
pub struct ChatArguments {
    /// The blob
    pub blob: PathBuf,
    /// What the model is told first
    #[arg(long, allow_hyphen_values = true, value_name = "TEXT")]
    pub system: Option<String>,
    /// Print the prompt that the model's template makes of every turn
    #[arg(long)]
    pub show_prompt: bool,
    /// Show what the model thinks before it answers, on standard error
    #[arg(long)]
    pub show_thinking: bool,
    /// Go on with the conversation in this file if there is one, and keep it there after every
    /// answer
    #[arg(long, value_name = "FILE")]
    pub session: Option<PathBuf>,
    #[command(flatten)]
    pub template: TemplateArguments,
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
    /// The text to continue, whatever it begins with; `-` for standard input
    #[arg(short, long, allow_hyphen_values = true, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// Read the text from a file, but for a line break at its end; `-` for standard input, which
    /// is also read where it is a pipe or a file and neither this nor `-p` is given
    #[arg(short, long, conflicts_with = "prompt", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Put the text through the model's chat template as a user's message
    #[arg(long)]
    pub chat: bool,
    /// With --chat: what the model is told first
    #[arg(long, requires = "chat", allow_hyphen_values = true, value_name = "TEXT")]
    pub system: Option<String>,
    /// With --chat: show what the model thinks before it answers, on standard error
    #[arg(long, requires = "chat")]
    pub show_thinking: bool,
    /// The answer and its figures as JSON, when it is complete
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub template: TemplateArguments,
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
    #[arg(short, long, default_value_t = 128, value_parser = tokens_at_once(), value_name = "TOKENS")]
    pub prompt: usize,
    /// Tokens decoded one by one
    #[arg(short = 'n', long, default_value_t = 64, value_parser = tokens_at_once(), value_name = "TOKENS")]
    pub decode: usize,
    /// Runs, of which the median counts
    #[arg(short, long, default_value_t = 5, value_parser = count(0))]
    pub runs: usize,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub engine: EngineArguments,
    #[command(flatten)]
    pub session: SessionArguments,
}
