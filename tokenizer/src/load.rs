//! A `tokenizer.json` into the library's tokenizer, its model read straight into the library's own
//! tables.
//!
//! The library's own way reads a model into a tree of values twice before it reads the tables from
//! them, to find out of which kind it is. Here a survey has found that out.

use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{
    DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Result,
    Tokenizer, TokenizerImpl,
};

use crate::demand::ModelKind;

type Of<M> =
    TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// Reads a tokenizer whose model is of this kind, as [`survey`](crate::survey()) found it.
///
/// # Errors
/// What the library says.
pub fn load(json: &[u8], kind: ModelKind) -> Result<Tokenizer> {
    Ok(match kind {
        ModelKind::Bpe => Of::<BPE>::from_bytes(json)?.into(),
        ModelKind::Unigram => Of::<Unigram>::from_bytes(json)?.into(),
        ModelKind::WordPiece => Of::<WordPiece>::from_bytes(json)?.into(),
        ModelKind::WordLevel => Of::<WordLevel>::from_bytes(json)?.into(),
    })
}
