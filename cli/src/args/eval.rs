//! The command line of `hardtack eval`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::session::{EngineArguments, KvArgument, KvArguments, SessionArguments};
use super::values::{count, tokens_at_once};
use crate::eval::TaskFile;

#[derive(Debug, Args)]
pub struct EvalArguments {
    #[command(subcommand)]
    pub what: Evaluation,
}

#[derive(Debug, Subcommand)]
pub enum Evaluation {
    /// Perplexity on a text, in windows that do not overlap
    Ppl(PerplexityArguments),
    /// Divergence from a reference blob of the same vocabulary, such as the same model at bf16
    Kld(DivergenceArguments),
    /// Perplexity on one long text without a break, stretch by stretch, beside speed and memory
    Stream(StreamArguments),
    /// Whether facts from far back in a long text are still known at its end
    Needle(NeedleArguments),
    /// Questions with choices, and GSM8K: accuracy as the field measures it
    Tasks(TasksArguments),
    /// Logits of a list of tokens, into a file
    Logits(LogitsArguments),
}

#[derive(Debug, Args)]
pub struct PerplexityArguments {
    /// The blob
    pub blob: PathBuf,
    /// Another blob of the same vocabulary on the same windows, with a 95 % interval of the
    /// difference
    #[arg(long, value_name = "BLOB")]
    pub against: Option<PathBuf>,
    /// Tokens that are processed at once
    #[arg(long, default_value_t = hardtack::BATCH_DEFAULT, value_parser = count(0), value_name = "TOKENS")]
    pub batch: usize,
    #[command(flatten)]
    pub on: TextArguments,
}

#[derive(Debug, Args)]
pub struct StreamArguments {
    /// The blob
    pub blob: PathBuf,
    /// A UTF-8 text; it begins anew where it ends
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// Tokens in all
    #[arg(long, default_value_t = 20_000, value_parser = count(1), value_name = "TOKENS")]
    pub tokens: usize,
    /// Tokens of a stretch
    #[arg(long, default_value_t = 2_000, value_parser = count(0), value_name = "TOKENS")]
    pub stretch: usize,
    /// Judge the last stretch also with an exact cache of this many tokens that is filled anew for
    /// every 64 of them
    #[arg(long, value_parser = count(0), value_name = "TOKENS")]
    pub window: Option<usize>,
    #[command(flatten)]
    pub session: SessionArguments,
    #[command(flatten)]
    pub engine: EngineArguments,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct NeedleArguments {
    /// The blob
    pub blob: PathBuf,
    /// A UTF-8 text to hide facts in; it begins anew where it ends
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// How far back facts are, in tokens
    #[arg(long, value_delimiter = ',', default_values_t = [256, 512, 1024, 1536], value_parser = tokens_at_once(),
        value_name = "TOKENS,...")]
    pub depths: Vec<usize>,
    /// Tokens before the deepest fact, such as fill the ring
    #[arg(long, default_value_t = 512, value_parser = tokens_at_once(), value_name = "TOKENS")]
    pub before: usize,
    /// Texts, each with a fact at every depth
    #[arg(long, default_value_t = 20, value_parser = count(0), value_name = "COUNT")]
    pub trials: usize,
    /// The same seed makes the same facts
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub session: SessionArguments,
    #[command(flatten)]
    pub engine: EngineArguments,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// On what a model is judged token by token, and how.
#[derive(Debug, Args)]
pub struct TextArguments {
    /// A UTF-8 text
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    #[command(flatten)]
    pub windows: WindowArguments,
    #[command(flatten)]
    pub bootstrap: BootstrapArguments,
    #[command(flatten)]
    pub kv: KvArguments,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub engine: EngineArguments,
}

#[derive(Debug, Args)]
pub struct WindowArguments {
    /// Tokens of a window
    #[arg(long, default_value_t = 512, value_parser = count(0), value_name = "TOKENS")]
    pub ctx: usize,
    /// First tokens of a window that serve as context only; half a window reproduces llama.cpp's
    /// figures
    #[arg(long, default_value_t = 0, value_parser = count(0), value_name = "TOKENS")]
    pub skip: usize,
    /// Windows; 0 for the whole text
    #[arg(long, default_value_t = 0, value_parser = count(0), value_name = "COUNT")]
    pub windows: usize,
}

#[derive(Debug, Args)]
pub struct BootstrapArguments {
    /// Resamples of the bootstrap for each 95 % interval
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub resamples: u32,
    /// The same seed makes the same intervals
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Args)]
pub struct DivergenceArguments {
    /// The blob
    pub blob: PathBuf,
    /// The reference blob
    #[arg(long, value_name = "BLOB")]
    pub against: PathBuf,
    #[command(flatten)]
    pub on: TextArguments,
}

#[derive(Debug, Args)]
pub struct TasksArguments {
    /// The blob
    pub blob: PathBuf,
    /// What to measure on: a file (a folder of CSV files for mmlu), which names its task if its
    /// name does not; again for more tasks. Tasks: arc_easy, arc_challenge, openbookqa, piqa,
    /// winogrande, boolq, mathqa, hellaswag, mmlu, gsm8k
    #[arg(long = "task", required = true, value_parser = TaskFile::parse, value_name = "[NAME=]FILE")]
    pub tasks: Vec<TaskFile>,
    /// Another blob on the same items, with a 95 % interval of the difference
    #[arg(long, value_name = "BLOB")]
    pub against: Option<PathBuf>,
    /// Items of each task, evenly spread over it; 0 for all
    #[arg(long, default_value_t = 0, value_parser = count(0), value_name = "ITEMS")]
    pub limit: usize,
    /// Solved examples before each question, from the task's `--shots-from`; without it 8 for
    /// gsm8k, 5 for the others
    #[arg(long, requires = "shots_from", value_parser = count(0), value_name = "COUNT")]
    pub shots: Option<usize>,
    /// Where a task's solved examples are: a file or folder of the same layout that is not the one
    /// under test; the first are taken
    #[arg(long, value_parser = TaskFile::parse, value_name = "[NAME=]FILE")]
    pub shots_from: Vec<TaskFile>,
    /// gsm8k: ask through the model's chat template
    #[arg(long)]
    pub chat: bool,
    /// gsm8k: most new tokens of an answer
    #[arg(short = 'n', long, default_value_t = 256, value_parser = count(0), value_name = "TOKENS")]
    pub max_tokens: usize,
    /// Where a line of JSON goes for each item: what each model answered
    #[arg(long, value_name = "FILE")]
    pub items: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub bootstrap: BootstrapArguments,
    #[command(flatten)]
    pub session: SessionArguments,
    #[command(flatten)]
    pub engine: EngineArguments,
}

#[derive(Debug, Args)]
pub struct LogitsArguments {
    /// The blob
    pub blob: PathBuf,
    /// A JSON array of token ids
    #[arg(long, value_name = "FILE")]
    pub tokens: PathBuf,
    /// Where tensor `logits`, float32 [tokens, vocabulary], goes as safetensors
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Tokens that are processed at once
    #[arg(long, default_value_t = hardtack::BATCH_DEFAULT, value_parser = count(0), value_name = "TOKENS")]
    pub batch: usize,
    /// How keys and values are kept
    #[arg(long, value_enum, default_value_t = KvArgument::F32)]
    pub kv_type: KvArgument,
    #[command(flatten)]
    pub engine: EngineArguments,
}
