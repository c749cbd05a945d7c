//! What steers a model, wherever a checkpoint says so: added tokens beside `tokenizer.json`, kinds
//! that are wrong, ends that are named and not there. Right ids are those of transformers 5.24
//! (`AutoTokenizer` of the same files) and, where a case says so, of llama.cpp.

use std::fs;
use std::path::Path;

use crate::vocabulary_support::open;
use hardtack_converter::vocabulary::{
    GgufVocabulary, TextSections, VocabularyError, from_folder, from_gguf,
};
use hardtack_format::vocabulary::{TokenKind, Vocabulary};
use serde_json::{Value, json};

const TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content \
    }}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
const TEXT: &str = "<|im_start|>hello<|im_end|> <|endoftext|>";
/// Rows of the embedding.
const ROWS: u32 = 320;

/// GPT-2's `bytes_to_unicode`, then the nine pieces that make `hello` and ` world`.
fn pieces() -> Vec<String> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut beyond = (0x100..).filter_map(char::from_u32);
    let letters = (0..=u8::MAX)
        .map(|byte| if printable(&byte) { char::from(byte) } else { beyond.next().unwrap() });
    let joined = ["he", "ll", "hell", "hello", "Ġw", "or", "Ġwor", "ld", "Ġworld"];
    letters.map(String::from).chain(joined.map(String::from)).collect()
}

const MERGES: [&str; 9] =
    ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld"];

fn added(id: u64, content: &str, special: bool) -> Value {
    json!({ "id": id, "content": content, "special": special, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false })
}

/// A byte-level tokenizer of 265 pieces with these added tokens.
fn tokenizer(added: &[Value]) -> Value {
    let vocabulary: serde_json::Map<String, Value> = pieces()
        .into_iter()
        .zip(0..)
        .map(|(piece, id): (String, u32)| (piece, json!(id)))
        .collect();
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    json!({ "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": MERGES } })
}

/// A folder with these files, read.
fn folder(
    tokenizer: &Value,
    files: &[(&str, Value)],
    config: &Value,
) -> Result<TextSections, VocabularyError> {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name: &str, value: &Value| fs::write(folder.path().join(name), value.to_string()).unwrap();
    write("tokenizer.json", tokenizer);
    fs::write(folder.path().join("chat_template.jinja"), TEMPLATE).unwrap();
    files.iter().for_each(|(name, value)| write(name, value));
    read(folder.path(), config)
}

fn read(folder: &Path, config: &Value) -> Result<TextSections, VocabularyError> {
    from_folder(folder, config, ROWS)
}

fn ids(sections: &TextSections, text: &str) -> Vec<u32> {
    open(sections).0.encode_fast(text, false).unwrap().get_ids().to_vec()
}

fn table(sections: &TextSections) -> Vocabulary<&[u8]> {
    Vocabulary::read(sections.vocabulary.as_deref().unwrap()).unwrap()
}

fn end_of_text() -> Vec<Value> {
    vec![added(265, "<|endoftext|>", true)]
}

#[test]
fn added_tokens_of_the_configurations_are_taken() {
    let decoder = |start: &str, end: &str| {
        json!({ "265": added(265, "<|endoftext|>", true), start: added(0, "<|im_start|>", true),
            end: added(0, "<|im_end|>", true) })
    };
    let names = json!(["<|im_start|>", "<|im_end|>"]);
    let settings = |extra: Value| {
        let mut settings = json!({ "eos_token": "<|im_end|>" });
        extra.as_object().unwrap().iter().for_each(|(key, value)| settings[key] = value.clone());
        settings
    };
    // The files, and the ids of `<|im_start|>` and `<|im_end|>`.
    type Case = (&'static str, Vec<(&'static str, Value)>, [u32; 2]);
    let cases: [Case; 8] = [
        (
            "added_tokens_decoder",
            vec![(
                "tokenizer_config.json",
                settings(json!({ "added_tokens_decoder": decoder("266", "267") })),
            )],
            [266, 267],
        ),
        (
            "the other way round",
            vec![(
                "tokenizer_config.json",
                settings(json!({ "added_tokens_decoder": decoder("267", "266") })),
            )],
            [267, 266],
        ),
        (
            // Here transformers returns 266 and 267: the ids that the file names are what the
            // weights were trained with.
            "added_tokens_decoder with a gap",
            vec![(
                "tokenizer_config.json",
                settings(json!({ "added_tokens_decoder": decoder("270", "280") })),
            )],
            [270, 280],
        ),
        (
            "added_tokens.json",
            vec![
                ("tokenizer_config.json", settings(json!({}))),
                ("added_tokens.json", json!({ "<|im_end|>": 267, "<|im_start|>": 266 })),
            ],
            [266, 267],
        ),
        (
            // Without ids they are numbered on: the named ones first, then the list.
            "special_tokens_map.json",
            vec![(
                "special_tokens_map.json",
                json!({ "eos_token": "<|im_end|>", "additional_special_tokens": names }),
            )],
            [267, 266],
        ),
        (
            "a named padding token comes between",
            vec![(
                "special_tokens_map.json",
                json!({ "eos_token": added(0, "<|im_end|>", true), "pad_token": "<pad>", "additional_special_tokens": names }),
            )],
            [268, 266],
        ),
        (
            "names in tokenizer_config.json",
            vec![(
                "tokenizer_config.json",
                settings(json!({ "additional_special_tokens": ["<|im_start|>"] })),
            )],
            [267, 266],
        ),
        (
            "extra_special_tokens by role",
            vec![(
                "tokenizer_config.json",
                settings(json!({ "extra_special_tokens": { "turn_token": "<|im_start|>" } })),
            )],
            [267, 266],
        ),
    ];
    for (case, files, [start, end]) in cases {
        let sections = folder(&tokenizer(&end_of_text()), &files, &Value::Null).unwrap();
        assert_eq!(ids(&sections, TEXT), [start, 259, end, 32, 265], "{case}");
        let table = table(&sections);
        assert_eq!(
            (table.rules().end, table.rules().ends.clone()),
            (Some(end), vec![265, end]),
            "{case}"
        );
        assert!([start, end].into_iter().all(|id| table.kind(id).steers()), "{case}");
        assert_eq!(table.bytes(start), b"<|im_start|>", "{case}");
        assert!(
            sections.problems.is_empty() && sections.warnings.len() == 1,
            "{case}: {sections:?}"
        );
        assert!(sections.warnings[0].contains("not in tokenizer.json"), "{case}");
    }
}

#[test]
fn a_piece_that_a_configuration_calls_special_is_and_flags_of_the_configuration_win() {
    let mut named = tokenizer(&[]);
    named["model"]["vocab"]["<|im_start|>"] = json!(265);
    named["model"]["vocab"]["<|im_end|>"] = json!(266);
    let settings =
        json!({ "eos_token": "<|im_end|>", "additional_special_tokens": ["<|im_start|>"] });
    let sections = folder(&named, &[("tokenizer_config.json", settings)], &Value::Null).unwrap();
    assert_eq!(ids(&sections, "<|im_start|>hello<|im_end|>"), [265, 259, 266]);
    assert_eq!(table(&sections).rules().ends, [266]);

    // `lstrip` takes the space before the token.
    let mut stripping = added(265, "<|endoftext|>", true);
    stripping["lstrip"] = json!(true);
    let settings =
        json!({ "eos_token": "<|endoftext|>", "added_tokens_decoder": { "265": stripping } });
    let sections =
        folder(&tokenizer(&end_of_text()), &[("tokenizer_config.json", settings)], &Value::Null)
            .unwrap();
    assert_eq!(ids(&sections, "hello <|endoftext|>"), [259, 265]);
}

#[test]
fn a_file_that_says_it_all_is_kept_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let all = [
        added(265, "<|endoftext|>", true),
        added(266, "<|im_start|>", true),
        added(267, "<|im_end|>", true),
    ];
    let text = serde_json::to_string_pretty(&tokenizer(&all)).unwrap();
    fs::write(folder.path().join("tokenizer.json"), &text).unwrap();
    let decoder = json!({ "265": all[0], "266": all[1], "267": all[2] });
    let settings = json!({ "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "added_tokens_decoder": decoder });
    fs::write(folder.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
    let sections = read(folder.path(), &Value::Null).unwrap();
    assert!(sections.tokenizer.as_deref() == Some(text.as_bytes()));
    assert_eq!((sections.warnings, sections.problems), (vec![], vec![]));
}

#[test]
fn added_tokens_that_a_template_writes_become_markers_and_words_do_not() {
    let added = [
        added(265, "<|endoftext|>", true),
        added(266, "<|im_start|>", false),
        added(267, "<|im_end|>", false),
        added(268, "<think>", false),
        added(269, "role", false),
        added(270, "\n\n", false),
        added(271, "<table>", false),
    ];
    let sections = folder(&tokenizer(&added), &[], &Value::Null).unwrap();
    let table = table(&sections);
    let kinds = [265, 266, 267, 268, 269, 270, 271].map(|id| table.kind(id));
    use TokenKind::*;
    assert_eq!(kinds, [Control, Marker, Control, Marker, UserDefined, UserDefined, UserDefined]);
    assert_eq!(table.rules().ends, [265, 267]);
    // The file itself stays: the runtime keeps markers apart by their kind.
    assert!(sections.tokenizer == Some(tokenizer(&added).to_string().into_bytes()));
}

#[test]
fn a_token_that_only_a_configuration_calls_special_is_hidden_and_the_file_stays() {
    let file = tokenizer(&[added(265, "<turn>", false), added(266, "<|im_end|>", false)]);
    let decoder =
        json!({ "265": added(265, "<turn>", true), "266": added(266, "<|im_end|>", false) });
    let files = [("tokenizer_config.json", json!({ "added_tokens_decoder": decoder }))];
    let sections = folder(&file, &files, &Value::Null).unwrap();
    assert_eq!([265, 266].map(|id| table(&sections).kind(id)), [TokenKind::Control; 2]);
    assert!(sections.tokenizer == Some(file.to_string().into_bytes()));
}

#[test]
fn rendering_may_find_more_marks() {
    let mut sections = folder(
        &tokenizer(&[
            added(265, "<|endoftext|>", true),
            added(266, "<|bot|>", false),
            added(267, "bot", false),
        ]),
        &[],
        &Value::Null,
    )
    .unwrap();
    let tokenizer = sections.tokenizer.clone();
    // A word that a template writes is one still, and ids beyond the table are nobody's.
    assert_eq!(sections.mark(&[266, 267, 259, 265, 5000]).unwrap(), 1);
    let kinds = [265, 266, 267, 259].map(|id| table(&sections).kind(id));
    assert_eq!(
        kinds,
        [TokenKind::Control, TokenKind::Marker, TokenKind::UserDefined, TokenKind::Normal]
    );
    assert_eq!(sections.mark(&[266]).unwrap(), 0);
    assert!(sections.tokenizer == tokenizer);
}

#[test]
fn an_end_that_is_named_and_not_there_is_a_problem() {
    let named = |settings: Value, config: Value| {
        let files = [("tokenizer_config.json", settings)];
        folder(&tokenizer(&end_of_text()), &files, &config).unwrap()
    };
    // The embedding has rows for tokens that have no name, so a name alone is numbered on; beyond
    // the rows it is lost.
    let mut full = end_of_text();
    full.extend((266..320).map(|id| added(id, &format!("<|{id}|>"), true)));
    let files = [("tokenizer_config.json", json!({ "eos_token": "<|im_end|>" }))];
    let lost = folder(&tokenizer(&full), &files, &Value::Null).unwrap();
    assert!(lost.problems.iter().any(|line| line.contains("`<|im_end|>`")), "{lost:?}");

    let absent = named(json!({}), json!({ "eos_token_id": 300 }));
    assert!(absent.problems[0].contains("300"), "{:?}", absent.problems);
    let several = named(json!({}), json!({ "eos_token_id": [265, 300] }));
    assert_eq!((several.problems.len(), table(&several).rules().ends.clone()), (0, vec![265]));
    let as_object = named(json!({ "eos_token": { "content": "<|endoftext|>" } }), Value::Null);
    assert_eq!((as_object.problems.len(), table(&as_object).rules().end), (0, Some(265)));
    let listed = named(json!({ "eos_token": ["<|endoftext|>", "<|over|>"] }), Value::Null);
    assert_eq!((listed.problems.len(), table(&listed).rules().ends.clone()), (0, vec![265, 266]));
}

#[test]
fn one_token_more_than_rows_is_left_out_unless_a_conversation_needs_it() {
    let mut padded = end_of_text();
    padded.extend((266..320).map(|id| added(id, &format!("<|{id}|>"), true)));
    padded.push(added(320, "[PAD]", true));
    let settings = json!({ "eos_token": "<|endoftext|>", "pad_token": "[PAD]" });
    let files = [("tokenizer_config.json", settings)];
    let sections = folder(&tokenizer(&padded), &files, &Value::Null).unwrap();
    assert!(
        sections.problems.is_empty() && sections.warnings[0].contains("`[PAD]`"),
        "{sections:?}"
    );
    assert_eq!(table(&sections).count(), ROWS);
    assert!(ids(&sections, "hello[PAD]").iter().all(|&id| id < ROWS));

    *padded.last_mut().unwrap() = added(320, "<|im_end|>", true);
    let sections = folder(&tokenizer(&padded), &[], &Value::Null).unwrap();
    assert!(sections.problems.iter().any(|line| line.contains("`<|im_end|>`")), "{sections:?}");
    // A word of the model without a row: any text with it would fail.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokenizer.json"), tokenizer(&end_of_text()).to_string()).unwrap();
    let refused = from_folder(folder.path(), &Value::Null, 264).unwrap_err();
    assert!(
        matches!(refused, VocabularyError::TooManyTokens { tokenizer: 265, model: 264 }),
        "{refused}"
    );
}

#[test]
fn an_empty_template_is_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokenizer.json"), tokenizer(&end_of_text()).to_string()).unwrap();
    for text in ["", " \n\t"] {
        fs::write(folder.path().join("chat_template.jinja"), text).unwrap();
        let sections = read(folder.path(), &Value::Null).unwrap();
        assert_eq!(sections.template, None);
        assert!(
            sections.warnings.iter().any(|line| line.contains("template is empty")),
            "{:?}",
            sections.warnings
        );
    }
}

/// The same vocabulary in a GGUF file: `<|endoftext|>`, `<|im_start|>` and `<|im_end|>` with these
/// types.
fn gguf(types: [i32; 3]) -> GgufVocabulary {
    let marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(String::from);
    GgufVocabulary {
        model: "gpt2".into(),
        pre: Some("gpt-2".into()),
        tokens: pieces().into_iter().chain(marks).collect(),
        kinds: [1; 265].into_iter().chain(types).collect(),
        merges: Some(MERGES.map(String::from).to_vec()),
        eos: Some(267),
        template: Some(TEMPLATE.into()),
        ..GgufVocabulary::default()
    }
}

#[test]
fn turn_markers_that_a_gguf_types_as_words_are_taken_for_what_they_are() {
    let right = from_gguf(&gguf([3, 3, 3]), ROWS).unwrap();
    assert!(right.warnings.is_empty() && right.problems.is_empty(), "{right:?}");
    for types in [[3, 1, 1], [1, 1, 1]] {
        let sections = from_gguf(&gguf(types), ROWS).unwrap();
        assert_eq!(ids(&sections, TEXT), [266, 259, 267, 32, 265], "{types:?}");
        assert_eq!(sections.vocabulary, right.vocabulary, "{types:?}");
        assert_eq!(sections.tokenizer, right.tokenizer, "{types:?}");
        assert!(sections.warnings[0].contains("`<|im_start|>`"), "{:?}", sections.warnings);
    }
    // Without types all are words by the file's account.
    let untyped = GgufVocabulary { kinds: Vec::new(), ..gguf([0; 3]) };
    assert_eq!(from_gguf(&untyped, ROWS).unwrap().vocabulary, right.vocabulary);
    // Ends by name, without a template and without a named one; `<|im_start|>` is well known too.
    let bare = GgufVocabulary { eos: None, template: None, ..gguf([1, 1, 1]) };
    let bare = from_gguf(&bare, ROWS).unwrap();
    assert_eq!(table(&bare).rules().ends, [265, 267]);
    assert_eq!(table(&bare).kind(266), TokenKind::Control);
}

#[test]
fn user_defined_marks_of_a_gguf_are_markers_and_merged_words_stay_words() {
    let sections = from_gguf(&gguf([4, 4, 4]), ROWS).unwrap();
    let table = table(&sections);
    use TokenKind::*;
    assert_eq!([265, 266, 267].map(|id| table.kind(id)), [Control, Marker, Control]);
    assert_eq!(ids(&sections, TEXT), [266, 259, 267, 32, 265]);

    // The template writes `<o>`, and merges make it of text: a word.
    let mut meta = gguf([3, 3, 3]);
    meta.tokens.extend(["<o", "<o>"].map(String::from));
    meta.kinds.extend([1, 1]);
    meta.merges.iter_mut().for_each(|merges| merges.extend(["< o", "<o >"].map(String::from)));
    meta.template = Some(format!("<o>{TEMPLATE}"));
    let sections = from_gguf(&meta, ROWS).unwrap();
    assert_eq!(Vocabulary::read(sections.vocabulary.unwrap()).unwrap().kind(269), Normal);
}

#[test]
fn a_gguf_that_lost_its_merges_is_refused() {
    for merges in [None, Some(Vec::new())] {
        let refused = from_gguf(&GgufVocabulary { merges, ..gguf([3, 3, 3]) }, ROWS).unwrap_err();
        assert!(matches!(refused, VocabularyError::NoMerges { long: 9 }), "{refused}");
        assert!(refused.to_string().contains("merges"));
    }
    // A vocabulary of bytes alone has nothing to merge, and says so with an empty list.
    let bytes = |merges| GgufVocabulary {
        tokens: pieces().into_iter().take(256).chain(["<|endoftext|>".into()]).collect(),
        kinds: [1; 256].into_iter().chain([3]).collect(),
        eos: Some(256),
        merges,
        ..gguf([3, 3, 3])
    };
    assert!(from_gguf(&bytes(Some(Vec::new())), ROWS).is_ok());
    assert!(matches!(
        from_gguf(&bytes(None), ROWS).unwrap_err(),
        VocabularyError::NoMerges { long: 0 }
    ));
}

#[test]
fn distilled_qwen_is_split_as_qwen_is() {
    let [qwen, distilled] = ["qwen2", "deepseek-r1-qwen"].map(|pre| {
        from_gguf(&GgufVocabulary { pre: Some(pre.into()), ..gguf([3, 3, 3]) }, ROWS).unwrap()
    });
    assert_eq!(qwen, distilled);
}
