//! Writes GGUF's tokenizer metadata as the `tokenizer.json` that Hugging Face would have for the
//! same model.

use std::collections::HashMap;

use hardtack_format::vocabulary::TokenKind;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::vocabulary::error::VocabularyError;
use crate::vocabulary::gguf_keys::{Family, GgufVocabulary};
use crate::vocabulary::piece::{SPACE_SIGN, byte_of_char};
use crate::vocabulary::{library, merges};

/// The file's bytes, proven to load.
pub(super) fn write(
    meta: &GgufVocabulary,
    family: &Family,
    kinds: &[TokenKind],
    warnings: &mut Vec<String>,
) -> Result<Vec<u8>, VocabularyError> {
    let ids = ids_by_piece(meta, kinds, warnings);
    let (frame, settings, merges) = match family {
        Family::ByteLevel(pre) => {
            warn_about_missing_bytes(&ids, warnings);
            let frame = json!({
                "normalizer": pre.normalizer,
                "pre_tokenizer": pre.pre_tokenizer,
                "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
            });
            let settings = json!({ "unk_token": null, "byte_fallback": false, "ignore_merges": pre.ignore_merges });
            (frame, settings, merges_of(meta, &ids)?)
        }
        Family::SentencePiece { space_prefix } => {
            let merges = merges_of_scores(meta, kinds, &ids);
            let unknown = unknown_piece(meta, kinds);
            let settings =
                json!({ "unk_token": unknown, "byte_fallback": true, "ignore_merges": false });
            (sentence_piece_frame(*space_prefix), settings, merges)
        }
    };
    let model = bpe(&ids, merges, &settings);
    let file = File {
        version: "1.0",
        truncation: (),
        padding: (),
        added_tokens: added_tokens(meta, kinds),
        normalizer: &frame["normalizer"],
        pre_tokenizer: &frame["pre_tokenizer"],
        post_processor: (),
        decoder: &frame["decoder"],
        model,
    };
    let bytes = serde_json::to_vec(&file).expect("texts and numbers always serialize");
    drop(file);
    drop(ids);
    library::check_loads(&bytes)?;
    Ok(bytes)
}

/// The file, written as it is: as a tree of values the lists of a large vocabulary would take
/// tens of megabytes.
#[derive(Serialize)]
struct File<'a> {
    version: &'static str,
    truncation: (),
    padding: (),
    added_tokens: Vec<Value>,
    normalizer: &'a Value,
    pre_tokenizer: &'a Value,
    post_processor: (),
    decoder: &'a Value,
    model: Bpe<'a>,
}

#[derive(Serialize)]
struct Bpe<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    dropout: (),
    unk_token: &'a Value,
    continuing_subword_prefix: (),
    end_of_word_suffix: (),
    fuse_unk: &'a Value,
    byte_fallback: &'a Value,
    ignore_merges: &'a Value,
    #[serde(serialize_with = "as_map")]
    vocab: Vec<(&'a str, u32)>,
    merges: Vec<(&'a str, &'a str)>,
}

fn as_map<S: Serializer>(pairs: &[(&str, u32)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}

/// `model.vocab`: the first token of a name has it; a second one can be read but never written.
fn ids_by_piece<'a>(
    meta: &'a GgufVocabulary,
    kinds: &[TokenKind],
    warnings: &mut Vec<String>,
) -> HashMap<&'a str, u32> {
    let mut ids = HashMap::with_capacity(meta.tokens.len());
    let mut doubles = 0;
    for ((id, piece), kind) in (0u32..).zip(&meta.tokens).zip(kinds) {
        if piece.is_empty() || *kind == TokenKind::Unused {
            continue;
        }
        if ids.contains_key(piece.as_str()) {
            doubles += 1;
        } else {
            ids.insert(piece.as_str(), id);
        }
    }
    if doubles > 0 {
        warnings.push(format!(
            "{doubles} tokens have the same text as an earlier one and will never be written"
        ));
    }
    ids
}

fn warn_about_missing_bytes(ids: &HashMap<&str, u32>, warnings: &mut Vec<String>) {
    let is_token = |character: &char| ids.contains_key(character.encode_utf8(&mut [0; 4]) as &str);
    let bytes = (0..0x144)
        .filter_map(char::from_u32)
        .filter(|character| byte_of_char(*character).is_some());
    let missing = bytes.filter(|character| !is_token(character)).count();
    if missing > 0 {
        warnings.push(format!(
            "{missing} of 256 bytes have no token: text with them cannot be encoded in full"
        ));
    }
}

fn merges_of<'a>(
    meta: &'a GgufVocabulary,
    ids: &HashMap<&str, u32>,
) -> Result<Vec<(&'a str, &'a str)>, VocabularyError> {
    let bad = |merge: &str, problem| VocabularyError::Field {
        field: "tokenizer.ggml.merges",
        problem: format!("`{}` {problem}", merge.escape_debug()),
    };
    let listed = meta.merges.as_deref().unwrap_or_default();
    let mut merges = Vec::with_capacity(listed.len());
    let mut joined = String::new();
    for merge in listed {
        let Some((left, right)) = merge.split_once(' ') else {
            return Err(bad(merge, "is not two pieces with a space between"));
        };
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        for piece in [left, right, &joined] {
            if !ids.contains_key(piece) {
                return Err(bad(merge, "joins or makes a piece that is no token"));
            }
        }
        merges.push((left, right));
    }
    Ok(merges)
}

/// Control tokens are left out: no text may become one by merging.
fn merges_of_scores<'a>(
    meta: &'a GgufVocabulary,
    kinds: &[TokenKind],
    ids: &HashMap<&str, u32>,
) -> Vec<(&'a str, &'a str)> {
    let text = |kind: &TokenKind| matches!(kind, TokenKind::Normal | TokenKind::UserDefined);
    let scored = meta.tokens.iter().zip(&meta.scores).zip(kinds).filter(|(_, kind)| text(kind));
    let pieces: Vec<(&str, f32)> =
        scored.map(|((piece, &score), _)| (piece.as_str(), score)).collect();
    merges::from_scores(&pieces, ids)
}

fn unknown_piece<'a>(meta: &'a GgufVocabulary, kinds: &[TokenKind]) -> Option<&'a str> {
    let of_kind = kinds.iter().position(|kind| *kind == TokenKind::Unknown);
    let index = meta.unknown.map(|id| id as usize).or(of_kind)?;
    meta.tokens.get(index).map(String::as_str).filter(|piece| !piece.is_empty())
}

fn bpe<'a>(
    ids: &HashMap<&'a str, u32>,
    merges: Vec<(&'a str, &'a str)>,
    settings: &'a Value,
) -> Bpe<'a> {
    let mut vocab: Vec<(&str, u32)> = ids.iter().map(|(piece, id)| (*piece, *id)).collect();
    vocab.sort_unstable_by_key(|(_, id)| *id);
    Bpe {
        kind: "BPE",
        dropout: (),
        unk_token: &settings["unk_token"],
        continuing_subword_prefix: (),
        end_of_word_suffix: (),
        fuse_unk: &settings["byte_fallback"],
        byte_fallback: &settings["byte_fallback"],
        ignore_merges: &settings["ignore_merges"],
        vocab,
        merges,
    }
}

/// Normalizer and decoder of `LlamaConverter` in `transformers/convert_slow_tokenizer.py`, in its
/// `legacy` form.
fn sentence_piece_frame(space_prefix: bool) -> Value {
    let mut normalizers = Vec::new();
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": SPACE_SIGN }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if space_prefix {
        normalizers.push(json!({ "type": "Prepend", "prepend": SPACE_SIGN }));
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    normalizers
        .push(json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE_SIGN }));
    json!({
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "pre_tokenizer": null,
        "decoder": { "type": "Sequence", "decoders": decoders },
    })
}

fn added_tokens(meta: &GgufVocabulary, kinds: &[TokenKind]) -> Vec<Value> {
    let mut added = Vec::new();
    for ((id, piece), kind) in (0u32..).zip(&meta.tokens).zip(kinds) {
        let special = match kind {
            TokenKind::Control | TokenKind::Marker | TokenKind::Unknown => true,
            TokenKind::UserDefined => false,
            _ => continue,
        };
        if !piece.is_empty() {
            added.push(json!({
                "id": id, "content": piece, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special,
            }));
        }
    }
    added
}
