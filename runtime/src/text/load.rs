//! A `tokenizer.json` into the library's tokenizer, its model read straight into the library's own tables.
//!
//! The library's own way reads a model into a tree of values twice before it reads the tables from them, to find out of
//! which kind it is. Here the kind is asked for first, and nothing is kept of that reading.

use serde::Deserialize;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{
    DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Result, Tokenizer, TokenizerImpl,
};

type Of<M> = TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

#[derive(Deserialize)]
struct File {
    model: Head,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: Option<Kind>,
}

#[derive(Deserialize)]
enum Kind {
    #[serde(rename = "BPE")]
    Bpe,
    Unigram,
    WordLevel,
    WordPiece,
}

/// Reads a tokenizer. A model that does not say of which kind it is was written when there was but BPE.
pub fn load(json: &[u8]) -> Result<Tokenizer> {
    let File { model: Head { kind } } = serde_json::from_slice(json)?;
    Ok(match kind.unwrap_or(Kind::Bpe) {
        Kind::Bpe => Of::<BPE>::from_bytes(json)?.into(),
        Kind::Unigram => Of::<Unigram>::from_bytes(json)?.into(),
        Kind::WordLevel => Of::<WordLevel>::from_bytes(json)?.into(),
        Kind::WordPiece => Of::<WordPiece>::from_bytes(json)?.into(),
    })
}
