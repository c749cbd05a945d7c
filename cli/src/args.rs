//! The command line: every flag with its unit, its default and its meaning.

mod bake;
mod eval;
mod memory;
mod session;
mod template;
mod values;

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::process;

use clap::{Args, Parser, Subcommand, ValueEnum};

use values::{count, parse_encoding, parse_escapes, parse_seed, parse_token_limit, tokens_at_once};

#[cfg(feature = "calibrate")]
pub use bake::AllocationArgument;
pub use bake::BakeArguments;
pub use eval::{
    BootstrapArguments, DivergenceArguments, EvalArguments, Evaluation, LogitsArguments,
    NeedleArguments, PerplexityArguments, StreamArguments, TasksArguments, WindowArguments,
};
pub use memory::MemoryArgument;
pub use session::{
    DeviceArgument, EngineArguments, KvArgument, KvArguments, LoadArgument, SessionArguments,
};
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
    /// The same seed makes the same text; without one, or with -1, a sampled text gets one that is
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
    /// System prompt, which the model reads first
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
    /// With --chat: system prompt, which the model reads first
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
