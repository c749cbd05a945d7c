//! The flags of `bake`.

use std::path::PathBuf;

use clap::Args;
use hardtack::format::Encoding;
use hardtack_converter::{BrokenChat, Choices, Review, TextSource, Unused};

use super::memory::{MemoryArgument, parse_memory};
use super::parse_encoding;
#[cfg(feature = "calibrate")]
use super::values::count;
use crate::size::parse_bytes;

#[derive(Debug, Args)]
pub struct BakeArguments {
    /// A Hugging Face folder (config.json, safetensors) or a GGUF file
    pub input: PathBuf,
    /// Where the blob goes
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Encoding of the matrices
    #[arg(long, default_value = "4", value_parser = parse_encoding, value_name = "2|3|4|5|6|8|f16|bf16|f32")]
    pub bits: Encoding,
    /// Most bytes of the whole file (such as 90MiB, 2.5GiB): takes the most precise encoding that
    /// fits; with --calib, every expert gets its own
    #[arg(long, conflicts_with = "bits", value_parser = parse_bytes, value_name = "BYTES")]
    pub budget: Option<u64>,
    /// Encoding of embeddings and head; without it, that of the matrices but at least 6 bits
    #[arg(long, value_parser = parse_encoding, value_name = "BITS")]
    pub head_bits: Option<Encoding>,
    /// Most bytes of memory that the bake may take: weights are read in smaller pieces where that
    /// helps, and a bake that cannot keep to it is refused before it begins. Without it, what the
    /// machine and its control group have left; `none` for whatever it takes
    #[arg(long, value_parser = parse_memory, value_name = "BYTES|none")]
    pub memory: Option<MemoryArgument>,
    #[command(flatten)]
    pub choices: ChoiceArguments,
    #[cfg(feature = "calibrate")]
    #[command(flatten)]
    pub calibration: CalibrationArguments,
}

/// What is taken from the checkpoint, and what is put up with.
#[derive(Debug, Args)]
pub struct ChoiceArguments {
    /// Take tokenizer and chat template from elsewhere: a folder with a tokenizer.json, or that
    /// file
    #[arg(long, conflicts_with = "no_text", value_name = "FOLDER|FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Leave tokenizer and chat template out: the blob speaks token ids only
    #[arg(long)]
    pub no_text: bool,
    /// Bake although the self-check finds that the model could not hold a conversation
    #[arg(long)]
    pub allow_broken_chat: bool,
    /// Leave out tensors that have no place in the network and are not known to mean nothing
    #[arg(long)]
    pub allow_unused_tensors: bool,
}

impl ChoiceArguments {
    /// The choices, with whoever reviews the text.
    pub fn choices<'a>(&'a self, review: Review<'a>) -> Choices<'a> {
        Choices {
            text: match &self.tokenizer {
                _ if self.no_text => TextSource::None,
                Some(path) => TextSource::Elsewhere(path),
                None => TextSource::Checkpoint,
            },
            broken_chat: if self.allow_broken_chat {
                BrokenChat::Allow
            } else {
                BrokenChat::Refuse
            },
            unused: if self.allow_unused_tensors { Unused::Allow } else { Unused::Refuse },
            review: Some(review),
        }
    }
}

#[cfg(feature = "calibrate")]
#[derive(Debug, Args)]
pub struct CalibrationArguments {
    /// A text to choose bits by, such as the model will meet; may be given several times, each
    /// with its own name
    #[arg(long = "calib", conflicts_with = "bits", value_parser = parse_text, value_name = "[NAME=]FILE")]
    pub texts: Vec<(String, PathBuf)>,
    /// Instead of --budget: bits of the experts' codes on average, scales not counted (such as
    /// 2.5); all else gets 6
    #[arg(long, requires = "texts", conflicts_with = "budget", value_name = "BITS")]
    pub bits_per_expert: Option<f64>,
    /// How experts share the bits; global without it
    #[arg(long, requires = "texts", value_enum)]
    pub allocation: Option<AllocationArgument>,
    /// Refused: there is one round, and --refine is what helps at few bits
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "",
        value_parser = removed, value_name = "BUDGETS")]
    pub progressive: Option<String>,
    /// Measure what each layer's parts cost in the quantized model, share the bits out again by
    /// that and quantize again. Do so at most PASSES times (4 without a number), for as long as
    /// the divergence on text held out falls
    #[arg(long, requires = "texts", num_args = 0..=1, require_equals = true,
        default_missing_value = "4", value_parser = count(0), value_name = "PASSES")]
    pub refine: Option<usize>,
    /// Tokens of each text to fit on
    #[arg(long, default_value_t = 16_384, value_parser = count(0), value_name = "TOKENS")]
    pub calib_tokens: usize,
    /// Tokens of each text, from its last fifth, to judge the result by
    #[arg(long, default_value_t = 8_192, value_parser = count(0), value_name = "TOKENS")]
    pub judge_tokens: usize,
    /// Tokens of a window
    #[arg(long, default_value_t = 512, value_parser = count(0), value_name = "TOKENS")]
    pub calib_window: usize,
    /// Passes over the texts to tune routers to the quantized experts; 0 leaves them alone
    #[arg(long, default_value_t = 1, value_parser = count(0), value_name = "PASSES")]
    pub tune: usize,
    /// Tokens of each text to learn on which bits cached keys and values need; 0 for a blob
    /// without such a policy
    #[arg(long, default_value_t = 4_096, value_parser = count(0), value_name = "TOKENS")]
    pub kv_tokens: usize,
    /// Memory for what layers are fed; beyond, it goes to a temporary file beside the blob
    #[arg(long, default_value = "1GiB", value_parser = parse_bytes, value_name = "BYTES")]
    pub calib_memory: u64,
}

#[cfg(feature = "calibrate")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AllocationArgument {
    /// All experts of the model against each other
    Global,
    /// Every layer gets the same share
    PerLayer,
    /// All experts alike
    Uniform,
}

/// Budgets before the target, which are no longer taken.
#[cfg(feature = "calibrate")]
fn removed(_: &str) -> Result<String, String> {
    Err("rounds of falling budgets were measured, did not help and were removed; \
         without this flag the bake goes straight to its target, and --refine measures the result"
        .to_owned())
}

/// A text's name, and its file; the file's name up to its first dot where none is given.
#[cfg(feature = "calibrate")]
fn parse_text(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) => (name.to_owned(), PathBuf::from(path)),
        None => {
            let path = PathBuf::from(text);
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            (name.split('.').next().unwrap_or_default().to_owned(), path)
        }
    };
    if name.is_empty() || path.as_os_str().is_empty() {
        return Err("expected FILE or NAME=FILE".to_owned());
    }
    Ok((name, path))
}

#[cfg(all(test, feature = "calibrate"))]
mod tests {
    use super::parse_text;

    #[test]
    fn a_text_has_a_name() {
        assert_eq!(parse_text("code=a/b.txt").unwrap(), ("code".to_owned(), "a/b.txt".into()));
        assert_eq!(
            parse_text("a/novels.en.txt").unwrap(),
            ("novels".to_owned(), "a/novels.en.txt".into())
        );
        for wrong in ["", "=a.txt", "code="] {
            assert!(parse_text(wrong).is_err(), "{wrong}");
        }
    }
}
