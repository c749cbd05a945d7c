//! Real tokenizers: text to ids and back, SentencePiece merges as Hugging Face derives them, GGUF
//! as the folder.

use std::collections::HashMap;
use std::fs;

use hardtack_testing::data;

use crate::vocabulary_support::{TEXTS, decode, open, read_gguf};
use hardtack_converter::vocabulary::{GgufVocabulary, VocabularyError, from_folder, from_gguf};
use hardtack_format::vocabulary::TokenKind;
use serde_json::{Value, json};

const MIXTRAL: &str = "tokenizers/mixtral-mistral-v1";

#[test]
#[ignore = "reads public files from the folder HARDTACK_DATA"]
fn mixtral_folder_gives_every_text_back() {
    let folder = data(MIXTRAL);
    let sections = from_folder(&folder, &json!({ "eos_token_id": 2 }), 32_000).unwrap();
    let (tokenizer, table) = open(&sections);
    let rules = table.rules();
    assert_eq!(
        (rules.begin, rules.end, rules.add_begin, rules.add_end),
        (Some(1), Some(2), true, false)
    );
    assert!(rules.strip_leading_space);
    assert_eq!(rules.ends, [2]);
    assert_eq!(sections.template, None);
    assert_eq!(
        (table.kind(0), table.kind(1), table.kind(13)),
        (TokenKind::Unknown, TokenKind::Control, TokenKind::Byte)
    );
    assert_eq!(table.bytes(13), b"\n");
    for text in TEXTS {
        // An escaped space sign is a space to SentencePiece; it has no way back.
        if !text.contains('▁') && !text.contains("<s>") {
            let ids = tokenizer.encode_fast(text, false).unwrap();
            assert_eq!(decode(&table, ids.get_ids()), text);
        }
    }
}

#[test]
#[ignore = "reads public files from the folder HARDTACK_DATA"]
fn more_tokens_than_the_model_has_are_refused_and_fewer_are_padded() {
    let folder = data(MIXTRAL);
    let refused = from_folder(&folder, &Value::Null, 31_999).unwrap_err();
    assert!(matches!(refused, VocabularyError::TooManyTokens { tokenizer: 32_000, model: 31_999 }));
    assert!(refused.to_string().contains("31999") && refused.to_string().contains("31999"));
    let sections = from_folder(&folder, &Value::Null, 32_064).unwrap();
    let (_, table) = open(&sections);
    assert_eq!((table.count(), table.kind(32_063)), (32_064, TokenKind::Unused));
}

/// The GGUF that `convert_hf_to_gguf.py` would write for a SentencePiece model: scores fall with
/// the id, and runs of spaces come last.
fn as_gguf(tokenizer: &Value) -> GgufVocabulary {
    let pieces = tokenizer["model"]["vocab"].as_object().unwrap();
    let mut meta = GgufVocabulary {
        model: "llama".into(),
        tokens: vec![String::new(); pieces.len()],
        bos: Some(1),
        eos: Some(2),
        unknown: Some(0),
        ..GgufVocabulary::default()
    };
    for (piece, id) in pieces {
        meta.tokens[id.as_u64().unwrap() as usize] = piece.clone();
    }
    for (id, piece) in meta.tokens.iter().enumerate() {
        meta.kinds.push(match id {
            0 => 2,
            1 | 2 => 3,
            _ if piece.starts_with("<0x") => 6,
            _ => 1,
        });
        meta.scores.push(match piece.as_str() {
            _ if id < 259 => 0.0,
            spaces if spaces.chars().all(|character| character == '▁') && spaces != "▁" => -1e9,
            _ => 259.0 - id as f32,
        });
    }
    meta
}

#[test]
#[ignore = "reads public files from the folder HARDTACK_DATA"]
fn merges_from_scores_are_those_of_hugging_face() {
    let folder = data(MIXTRAL);
    let bytes = fs::read(folder.join("tokenizer.json")).unwrap();
    let original: Value = serde_json::from_slice(&bytes).unwrap();
    let sections = from_gguf(&as_gguf(&original), 32_000).unwrap();
    let built: Value = serde_json::from_slice(sections.tokenizer.as_deref().unwrap()).unwrap();
    let merges = |file: &Value| -> Vec<String> {
        let pair = |merge: &Value| match merge {
            Value::String(pair) => pair.clone(),
            pair => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
        };
        file["model"]["merges"].as_array().unwrap().iter().map(pair).collect()
    };
    assert!(merges(&built) == merges(&original), "58,980 merges are too many to print");

    let from_folder = from_folder(&folder, &Value::Null, 32_000).unwrap();
    assert_eq!(sections.vocabulary, from_folder.vocabulary);
    let (built, _) = open(&sections);
    let original = tokenizers::Tokenizer::from_bytes(&bytes).unwrap();
    for text in TEXTS {
        let ids = |tokenizer: &tokenizers::Tokenizer| {
            tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec()
        };
        assert_eq!(ids(&built), ids(&original), "{text:?}");
    }
}

#[test]
#[ignore = "reads public files from the folder HARDTACK_DATA"]
fn gguf_byte_level_gives_every_text_back() {
    let more = std::env::var_os("HARDTACK_TEST_GGUF").map(Into::into);
    for path in [data("tokenizers/ggml-vocab-gpt-neox.gguf")].into_iter().chain(more) {
        let meta = read_gguf(&fs::read(&path).unwrap());
        let sections = from_gguf(&meta, 60_000).unwrap();
        eprintln!("{}: {:?}", path.display(), sections.warnings);
        let (tokenizer, table) = open(&sections);
        for text in TEXTS {
            let ids = tokenizer.encode_fast(text, false).unwrap();
            // SmolLM2 has no token for some bytes; it says so in its warnings.
            let complete =
                !sections.warnings.iter().any(|warning| warning.contains("bytes have no token"));
            if complete || text.chars().all(|character| character.is_ascii() && character >= ' ') {
                assert_eq!(decode(&table, ids.get_ids()), text, "{}", path.display());
            }
        }
    }
}

#[test]
#[ignore = "reads public files from the folder HARDTACK_DATA"]
fn neox_is_read_as_it_is() {
    let path = data("tokenizers/ggml-vocab-gpt-neox.gguf");
    let meta = read_gguf(&fs::read(path).unwrap());
    let sections = from_gguf(&meta, 50_432).unwrap();
    assert!(sections.warnings.iter().any(|warning| warning.contains("`default`")));
    let (tokenizer, table) = open(&sections);
    assert_eq!(table.rules().ends, [0]);
    assert!(!table.rules().add_begin);
    let ids = |text: &str| tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec();
    assert_eq!(ids("<|endoftext|>"), [0]);
    assert_eq!(table.bytes(ids(" the")[0]), b" the");
    let kinds: HashMap<u32, TokenKind> =
        [0, 2, 50_254].into_iter().map(|id| (id, table.kind(id))).collect();
    assert_eq!(kinds[&0], TokenKind::Control);
    assert_eq!(kinds[&2], TokenKind::Normal);
    assert_eq!(kinds[&50_254], TokenKind::UserDefined);
}
