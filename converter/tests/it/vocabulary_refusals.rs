//! Small made-up checkpoints: what is refused by name, what is warned of, and where each rule comes
//! from.

use std::fs;

use hardtack_testing::data;

use crate::vocabulary_support::{TEXTS, open, read_gguf};
use hardtack_converter::vocabulary::{GgufVocabulary, VocabularyError, from_folder, from_gguf};
use hardtack_format::vocabulary::{TokenKind, Vocabulary};
use serde_json::{Value, json};

fn small_gguf(pre: &str) -> GgufVocabulary {
    let text = |texts: &[&str]| texts.iter().map(|text| String::from(*text)).collect();
    GgufVocabulary {
        model: "gpt2".into(),
        pre: Some(pre.into()),
        tokens: text(&["<|im_end|>", "a", "b", "ab", "Ġ", "    ", "<|endoftext|>"]),
        kinds: vec![3, 1, 1, 1, 1, 4, 3],
        merges: Some(text(&["a b"])),
        eos: Some(0),
        bos: Some(6),
        ..GgufVocabulary::default()
    }
}

#[test]
fn every_known_pre_tokenizer_loads_and_others_are_refused_by_name() {
    let known = [
        "smollm",
        "gpt-2",
        "llama-bpe",
        "qwen2",
        "olmo",
        "dbrx",
        "deepseek-llm",
        "refact",
        "starcoder",
        "gpt-4o",
        "default",
    ];
    for name in known {
        let sections = from_gguf(&small_gguf(name), 8).unwrap();
        let (tokenizer, table) = open(&sections);
        assert_eq!(
            tokenizer.encode_fast("ab    a<|im_end|>", false).unwrap().get_ids(),
            [3, 5, 1, 0],
            "{name}"
        );
        for text in TEXTS {
            tokenizer.encode_fast(text, false).unwrap();
        }
        assert_eq!(table.rules().ends, [0, 6]);
        assert_eq!(table.rules().add_begin, name == "llama-bpe");
        assert_eq!(table.kind(5), TokenKind::UserDefined);
        assert_eq!(table.bytes(4), b" ");
    }
    let refused = from_gguf(&small_gguf("no-such"), 8).unwrap_err().to_string();
    assert!(refused.contains("`no-such`") && refused.contains("smollm"), "{refused}");
}

#[test]
fn other_models_and_broken_columns_are_refused() {
    for model in ["bert", "t5", "rwkv", "plamo2"] {
        let refused = from_gguf(&GgufVocabulary { model: model.into(), ..small_gguf("gpt-2") }, 8)
            .unwrap_err();
        assert!(matches!(&refused, VocabularyError::Model(name) if name == model));
    }
    let refused = |change: fn(&mut GgufVocabulary)| {
        let mut meta = small_gguf("gpt-2");
        change(&mut meta);
        from_gguf(&meta, 8).unwrap_err().to_string()
    };
    assert!(refused(|meta| meta.kinds.truncate(3)).contains("token_type has 3 entries"));
    assert!(refused(|meta| meta.model = "llama".into()).contains("scores has 0 entries"));
    assert!(
        refused(|meta| meta.merges.iter_mut().for_each(|merges| merges.push("ab".into())))
            .contains("merges")
    );
    assert!(
        refused(|meta| meta.merges.iter_mut().for_each(|merges| merges.push("a x".into())))
            .contains("`a x`")
    );
    assert!(refused(|meta| meta.tokens[1] = "a".repeat(5000)).contains("4096"));
}

#[test]
fn a_checkpoint_without_tokenizer_is_one_warning() {
    let folder = tempfile::tempdir().unwrap();
    let sections = from_folder(folder.path(), &Value::Null, 100).unwrap();
    assert_eq!((sections.tokenizer, sections.vocabulary, sections.template), (None, None, None));
    assert_eq!(sections.warnings.len(), 1);
    fs::write(folder.path().join("tokenizer.model"), "x").unwrap();
    let sections = from_folder(folder.path(), &Value::Null, 100).unwrap();
    assert!(sections.warnings[0].contains("tokenizer.model"));
    let sections = from_gguf(&GgufVocabulary::default(), 100).unwrap();
    assert_eq!((sections.tokenizer, sections.warnings.len()), (None, 1));
}

#[test]
fn rules_come_from_the_configurations() {
    let made = from_gguf(&small_gguf("gpt-2"), 8).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name: &str, value: &Value| fs::write(folder.path().join(name), value.to_string()).unwrap();
    let rules = |config: Value| {
        let sections = from_folder(folder.path(), &config, 8).unwrap();
        Vocabulary::read(sections.vocabulary.as_deref().unwrap()).unwrap().rules().clone()
    };
    fs::write(folder.path().join("tokenizer.json"), made.tokenizer.unwrap()).unwrap();
    assert_eq!(rules(Value::Null).ends, [0, 6]);
    assert_eq!(rules(json!({ "eos_token_id": [3, 0] })).ends, [0, 3, 6]);
    assert_eq!(rules(json!({ "text_config": { "eos_token_id": 2 } })).ends, [0, 2, 6]);
    assert_eq!(rules(json!({ "bos_token_id": 6 })).begin, Some(6));
    write("generation_config.json", &json!({ "eos_token_id": [1, 99] }));
    assert_eq!(rules(Value::Null).ends, [0, 1, 6]);
    write(
        "tokenizer_config.json",
        &json!({ "eos_token": { "content": "ab" }, "bos_token": "<|im_end|>", "add_bos_token": true }),
    );
    let found = rules(Value::Null);
    assert_eq!((found.begin, found.end, found.add_begin), (Some(0), Some(3), true));
    assert_eq!(found.ends, [0, 1, 3, 6]);
}

#[test]
fn the_template_comes_from_the_file_then_from_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let template = || from_folder(folder.path(), &Value::Null, 8).unwrap().template;
    assert_eq!(template(), None);
    let list =
        json!([{ "name": "tool_use", "template": "t" }, { "name": "default", "template": "d" }]);
    write("tokenizer_config.json", &json!({ "chat_template": list }).to_string());
    assert_eq!(template().as_deref(), Some("d"));
    write("tokenizer_config.json", &json!({ "chat_template": "plain" }).to_string());
    assert_eq!(template().as_deref(), Some("plain"));
    write("chat_template.jinja", "from the file");
    assert_eq!(template().as_deref(), Some("from the file"));
    write("chat_template.jinja", &"x".repeat(200_000));
    assert_eq!(template(), None);
}

#[test]
fn a_broken_tokenizer_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = from_gguf(&small_gguf("qwen2"), 8).unwrap().tokenizer.unwrap();
    for length in 0..tokenizer.len() {
        fs::write(folder.path().join("tokenizer.json"), &tokenizer[..length]).unwrap();
        assert!(from_folder(folder.path(), &Value::Null, 8).is_err(), "{length} bytes");
    }
    for hostile in [
        json!([]),
        json!({}),
        json!({ "model": { "type": "WordPiece", "vocab": {} } }),
        json!(null),
    ] {
        fs::write(folder.path().join("tokenizer.json"), hostile.to_string()).unwrap();
        assert!(from_folder(folder.path(), &Value::Null, 8).is_err(), "{hostile}");
    }
}

#[test]
#[ignore = "reads public files from the folder HARDTACK_DATA"]
fn a_text_cannot_merge_into_a_control_token() {
    let path = data("tokenizers/ggml-vocab-gpt-neox.gguf");
    let sections = from_gguf(&read_gguf(&fs::read(path).unwrap()), 50_432).unwrap();
    let (mut tokenizer, table) = open(&sections);
    tokenizer.set_encode_special_tokens(true);
    for text in TEXTS.into_iter().chain(["<|endoftext|><|padding|>"]) {
        let ids = tokenizer.encode_fast(text, false).unwrap();
        assert!(ids.get_ids().iter().all(|&id| table.kind(id) != TokenKind::Control), "{text:?}");
    }
}
