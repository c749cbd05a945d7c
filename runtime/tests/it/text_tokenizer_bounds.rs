//! Tokenizer files that ask for more than any published one are refused before the library is given
//! them.

use hardtack::text::{TextError, Tokenizer};
use hardtack_format::vocabulary::{TextRules, TokenKind, write};

/// A file with these sections around a vocabulary of three letters.
fn file(normalizer: &str, pre_tokenizer: &str) -> String {
    let model = r#"{"type":"BPE","vocab":{"a":0,"b":1," ":2},"merges":[]}"#;
    format!(
        r#"{{"version":"1.0","added_tokens":[],"normalizer":{normalizer},"pre_tokenizer":{pre_tokenizer},"model":{model}}}"#
    )
}

fn open(json: &str) -> Result<Tokenizer, TextError> {
    let pieces: [(TokenKind, &[u8]); 3] =
        [(TokenKind::Normal, b"a"), (TokenKind::Normal, b"b"), (TokenKind::Normal, b" ")];
    Tokenizer::from_sections(json.as_bytes(), &write(&TextRules::default(), &pieces).unwrap())
}

#[track_caller]
fn refused(json: &str, words: &[&str]) {
    let Err(error) = open(json) else { panic!("accepted: {}", &json[..json.len().min(200)]) };
    let line = error.to_string();
    assert!(
        line.starts_with("tokenizer section: ") && !line.contains('\n') && line.len() < 500,
        "{line}"
    );
    for word in words {
        assert!(line.contains(word), "no {word:?} in {line:?}");
    }
}

fn sequence(list: &str, steps: &[String]) -> String {
    format!(r#"{{"type":"Sequence","{list}":[{}]}}"#, steps.join(","))
}

fn replace(pattern: &str, content: &str) -> String {
    format!(r#"{{"type":"Replace","pattern":{pattern},"content":"{content}"}}"#)
}

#[test]
fn a_text_does_not_grow_without_end() {
    let spaces = " ".repeat(200);
    for pattern in [r#"{"String":" "}"#, r#"{"Regex":"."}"#, r#"{"String":""}"#] {
        let bomb = sequence("normalizers", &vec![replace(pattern, &spaces); 3]);
        refused(&file(&bomb, "null"), &["times as long", "the limit is 4096"]);
    }
    refused(
        &file(&replace(r#"{"String":" "}"#, &" ".repeat(1000)), "null"),
        &["setting: 1000, the limit is 256"],
    );
    refused(
        &file(&sequence("normalizers", &vec![r#"{"type":"NFKD"}"#.to_owned(); 4]), "null"),
        &["times as long"],
    );
    let prepend = format!(r#"{{"type":"Prepend","prepend":"{spaces}"}}"#);
    refused(&file(&sequence("normalizers", &vec![prepend; 2]), "null"), &["times as long"]);
}

#[test]
fn a_text_that_may_grow_must_be_shorter() {
    let growing = open(&file(&replace(r#"{"String":"a"}"#, &"b".repeat(200)), "null")).unwrap();
    assert_eq!(growing.encode("a").unwrap().len(), 200);
    let limit = (256 << 20) / 200;
    let error = growing.encode(&" ".repeat(limit + 1)).unwrap_err();
    assert_eq!(error, TextError::Size { what: "text", found: limit + 1, limit });
}

#[test]
fn steps_are_counted() {
    let many = sequence("normalizers", &vec![r#"{"type":"Strip"}"#.to_owned(); 100]);
    refused(&file(&many, "null"), &["the limit is 64"]);
    let hundred_thousand = sequence("normalizers", &vec![r#"{"type":"NFC"}"#.to_owned(); 100_000]);
    refused(&file(&hundred_thousand, "null"), &["more than 32768 values"]);
    let digits = r#"{"type":"Digits","individual_digits":true}"#.to_owned();
    refused(&file("null", &sequence("pretokenizers", &vec![digits; 65])), &["the limit is 64"]);
}

#[test]
fn expressions_are_weighed_before_they_are_compiled() {
    let split = |regex: &str| {
        format!(
            r#"{{"type":"Split","pattern":{{"Regex":"{regex}"}},"behavior":"Isolated","invert":false}}"#
        )
    };
    refused(
        &file("null", &sequence("pretokenizers", &vec![split(r"\\w{50}"); 20])),
        &["character classes", "512"],
    );
    refused(&file("null", &split(r"(?:\\w{30}){30}")), &["character classes"]);
    refused(&file("null", &split(&"a".repeat(5000))), &["bytes of a regular expression: 5000"]);
    assert!(open(&file("null", &split(r" ?\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+"))).is_ok());
}

#[test]
fn a_table_is_no_longer_than_it_says() {
    let map =
        |base64: &str| format!(r#"{{"type":"Precompiled","precompiled_charsmap":"{base64}"}}"#);
    // Eight gigabytes were asked for at once, which no panic handler survives.
    refused(&file(&map("/////w=="), "null"), &["precompiled_charsmap", "longer than the map"]);
    refused(&file(&map("####"), "null"), &["expected base64"]);
}

#[test]
fn kinds_that_are_not_known_are_refused_by_name() {
    refused(&file(r#"{"type":"Lua","code":"x"}"#, "null"), &["normalizer", "NFKC", "\"Lua\""]);
    refused(&file("null", r#"{"type":"Shell"}"#), &["pre_tokenizer", "ByteLevel", "\"Shell\""]);
    refused(&file(r#"{"normalizers":[]}"#, "null"), &["no type"]);
    let other_model = file("null", "null").replace("BPE", "Oracle");
    refused(&other_model, &["model", "Unigram", "\"Oracle\""]);
}

#[test]
fn of_two_readings_neither_is_taken() {
    let twice = file(r#"{"type":"Strip","type":"NFC"}"#, "null");
    refused(&twice, &["is there twice"]);
    let sections =
        file("null", "null").replacen("\"normalizer\"", "\"normalizer\":null,\"normalizer\"", 1);
    refused(&sections, &["is there twice"]);
    let long = file("null", "null").replacen(
        "\"vocab\"",
        &format!("\"unk_token\":\"{}\",\"vocab\"", "a".repeat(300)),
        1,
    );
    refused(&long, &["300 bytes, the limit is 256"]);
}

/// Crafted files from reports against the library (huggingface/tokenizers 2094, 2151, 2156, 2198):
/// each made it panic.
#[test]
fn panics_of_the_library_become_errors() {
    // A merge that is longer than every token.
    refused(&file("null", "null").replace("\"merges\":[]", "\"merges\":[\"a b\"]"), &["tokenizer"]);
    refused(
        &file(r#"{"type":"Precompiled","precompiled_charsmap":null}"#, "null"),
        &["precompiled_charsmap"],
    );
    refused(
        &file(r#"{"type":"Precompiled","precompiled_charsmap":"AAAAAA=="}"#, "null"),
        &["precompiled_charsmap"],
    );
    // This one panics at the first text only.
    let chunks_of_none = open(&file("null", r#"{"type":"FixedLength","length":0}"#));
    let error = chunks_of_none.and_then(|tokenizer| tokenizer.encode("ab")).unwrap_err();
    assert!(!error.to_string().contains('\n'), "{error}");
}

/// Patterns that backtrack without end (huggingface/tokenizers 2060), or nest as deep as a run of
/// letters is long (ggml-org/llama.cpp 27783).
#[test]
fn patterns_come_to_an_end() {
    let split = |regex: &str| {
        let step = format!(
            r#"{{"type":"Split","pattern":{{"Regex":"{regex}"}},"behavior":"Isolated","invert":false}}"#
        );
        open(&file("null", &step)).unwrap()
    };
    let run = "a".repeat(30_000) + "b";
    for regex in ["(a+)+", "(a*)*b", "((?=[a-z])([^A-Z]))+", r"(?:a|aa)+\\s"] {
        assert_eq!(split(regex).encode(&run).unwrap().len(), run.len(), "{regex}");
    }
    // What looks back at what it matched may be given up, but not after minutes.
    let start = std::time::Instant::now();
    let found = split(r"((a|aa)+)\\1\\1$").encode(&run);
    assert!(matches!(found, Ok(_) | Err(TextError::Encode(_))), "{found:?}");
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
