//! What a GGUF file says about its tokenizer.

use super::pre_tokenizer::PreTokenizer;

/// The `tokenizer.*` metadata of a GGUF file, as it is there.
#[derive(Clone, Debug, Default)]
pub struct GgufVocabulary {
    /// `tokenizer.ggml.model`.
    pub model: String,
    /// `tokenizer.ggml.pre`.
    pub pre: Option<String>,
    /// `tokenizer.ggml.tokens`.
    pub tokens: Vec<String>,
    /// `tokenizer.ggml.token_type`; may be empty: then all are normal.
    pub kinds: Vec<i32>,
    /// `tokenizer.ggml.scores`; only SentencePiece needs them.
    pub scores: Vec<f32>,
    /// `tokenizer.ggml.merges`; a file without the key is not one with an empty list.
    pub merges: Option<Vec<String>>,
    /// `tokenizer.ggml.bos_token_id`.
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`.
    pub eos: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`.
    pub eot: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`.
    pub unknown: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`.
    pub padding: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`.
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`.
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`.
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.chat_template`.
    pub template: Option<String>,
}

/// What `tokenizer.ggml.model` and `tokenizer.ggml.pre` mean together.
pub enum Family {
    /// `gpt2`: byte-level BPE with a list of merges.
    ByteLevel(PreTokenizer),
    /// `llama`: SentencePiece BPE with scores.
    SentencePiece {
        /// A text is encoded as if a space stood before it.
        space_prefix: bool,
    },
}
