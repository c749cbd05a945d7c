//! What can be wrong with a checkpoint's tokenizer.

use std::path::PathBuf;

use hardtack_format::vocabulary::VocabularyTableError;

/// A tokenizer that cannot be baked. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VocabularyError {
    /// A file is there and cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file above its limit.
    #[error("{}: {found} bytes, the limit is {limit}", path.display())]
    FileSize {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The most it may have.
        limit: u64,
    },
    /// A file is not JSON, or not the JSON of a tokenizer.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A field of `tokenizer.json` or of the GGUF metadata is absent or has the wrong form.
    #[error("tokenizer field {field}: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A kind of tokenizer that this converter does not know.
    #[error(
        "tokenizer model `{0}` is not supported: `BPE` and `Unigram` (tokenizer.json), `gpt2` and `llama` (GGUF) are; \
         --tokenizer FOLDER takes another tokenizer.json, --no-text makes a blob that speaks token ids only"
    )]
    Model(String),
    /// A pre-tokenizer that this converter does not know; guessing one would give wrong tokens
    /// without a sign.
    #[error(
        "tokenizer.ggml.pre `{0}` is not supported: --tokenizer FOLDER takes the tokenizer.json of the same model, --no-text \
         makes a blob that speaks token ids only; known are {known}",
        known = crate::vocabulary::pre_tokenizer::NAMES.join(", ")
    )]
    PreTokenizer(String),
    /// A GGUF file of a byte-level tokenizer has no merges: every text would come out byte by byte.
    #[error(
        "tokenizer.ggml.merges is missing or empty, and {long} tokens can only be made by merging: this file was converted \
         by a program that lost them; convert the model again, or give --tokenizer FOLDER with its tokenizer.json"
    )]
    NoMerges {
        /// Tokens of more than one byte.
        long: usize,
    },
    /// More tokens than rows of the embedding.
    #[error(
        "the tokenizer has words up to id {}, the embedding has {model} rows: they do not belong together; \
         --tokenizer FOLDER takes another one", tokenizer - 1
    )]
    TooManyTokens {
        /// Tokens of the tokenizer.
        tokenizer: u64,
        /// The model's vocabulary size.
        model: u32,
    },
    /// Two columns of the GGUF vocabulary differ in length.
    #[error("tokenizer.ggml.{column} has {found} entries, tokenizer.ggml.tokens has {tokens}")]
    Column {
        /// The column.
        column: &'static str,
        /// Its entries.
        found: usize,
        /// Entries of the token list.
        tokens: usize,
    },
    /// The tokenizer library does not take the tokenizer.
    #[error("the tokenizer cannot be loaded: {0}")]
    Library(String),
    /// The table breaks its own limits.
    #[error(transparent)]
    Table(#[from] VocabularyTableError),
}
