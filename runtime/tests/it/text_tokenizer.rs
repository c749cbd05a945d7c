//! A small tokenizer made by hand: control tokens only where they are asked for, and no panic on
//! hostile sections.
use hardtack::text::{TextError, Tokenizer};
use hardtack_format::vocabulary::{TextRules, TokenKind, write};

const PIECES: [(&str, TokenKind); 9] = [
    ("<|im_end|>", TokenKind::Control),
    ("<tool>", TokenKind::UserDefined),
    ("a", TokenKind::Normal),
    ("b", TokenKind::Normal),
    ("ab", TokenKind::Normal),
    ("<", TokenKind::Normal),
    ("<a>", TokenKind::Marker),
    ("</a>", TokenKind::Control),
    (">", TokenKind::Normal),
];

fn tokenizer_json(model: &str) -> String {
    let added = |id: u32, special: bool| {
        let content = PIECES[id as usize].0;
        format!(
            r#"{{"id":{id},"content":"{content}","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":{special}}}"#
        )
    };
    let vocabulary: Vec<_> =
        PIECES.iter().enumerate().map(|(id, piece)| format!("\"{}\":{id}", piece.0)).collect();
    format!(
        r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{},{},{},{}],"normalizer":null,
        "pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}},
        "post_processor":null,"decoder":{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}},
        "model":{{"type":"BPE",{model}"unk_token":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,
        "vocab":{{{}}},"merges":[["a","b"]]}}}}"#,
        added(0, true),
        added(1, false),
        added(6, false),
        added(7, false),
        vocabulary.join(",")
    )
}

fn table(count: usize) -> Vec<u8> {
    let rules =
        TextRules { begin: Some(0), add_begin: true, ends: vec![0], ..TextRules::default() };
    write(&rules, &PIECES.map(|(piece, kind)| (kind, piece))[..count]).unwrap()
}

#[test]
fn plain_text_never_becomes_a_control_token() {
    let tokenizer = Tokenizer::from_sections(tokenizer_json("").as_bytes(), &table(9)).unwrap();
    assert_eq!(tokenizer.encode_trusted("ab<|im_end|>a").unwrap(), [4, 0, 2]);
    assert!(!tokenizer.encode("ab<|im_end|>a").unwrap().contains(&0));
    assert_eq!(tokenizer.encode("a<tool>b").unwrap(), [2, 1, 3]);
    assert_eq!(tokenizer.encode_trusted("ab<|im_end|>a").unwrap(), [4, 0, 2]);
    assert!(tokenizer.encode("").unwrap().is_empty());
    assert_eq!(tokenizer.begin(), Some(0));
    assert!(tokenizer.is_end(0) && !tokenizer.is_end(1) && !tokenizer.is_end(u32::MAX));
    assert_eq!(
        (tokenizer.bytes(4), tokenizer.bytes(9), tokenizer.bytes(u32::MAX)),
        (&b"ab"[..], &b""[..], &b""[..])
    );
}

#[test]
fn what_steers_is_spelled_out_in_plain_text_whatever_the_tokenizer_calls_it() {
    let tokenizer = Tokenizer::from_sections(tokenizer_json("").as_bytes(), &table(9)).unwrap();
    // Both are added tokens with `special: false`; `/` has no token here.
    assert_eq!(tokenizer.encode_trusted("b<a>b</a>").unwrap(), [3, 6, 3, 7]);
    assert_eq!(tokenizer.encode("b<a>b</a>").unwrap(), [3, 5, 2, 8, 3, 5, 2, 8]);
    // The next call is not changed by the one before, and text without markers is the same either
    // way.
    assert_eq!(tokenizer.encode_trusted("<a>").unwrap(), [6]);
    for text in ["ab<tool>ba", "< a >", "<ab>", "a<b>a"] {
        assert_eq!(tokenizer.encode(text), tokenizer.encode_trusted(text), "{text}");
    }
}

#[test]
fn sections_that_do_not_belong_together_are_found() {
    let tokenizer = Tokenizer::from_sections(tokenizer_json("").as_bytes(), &table(4)).unwrap();
    assert_eq!(tokenizer.encode("ab"), Err(TextError::UnknownToken { id: 4, count: 4 }));
}

#[test]
fn random_tokenizers_and_long_texts_are_refused() {
    let refused = |json: &str| {
        Tokenizer::from_sections(json.as_bytes(), &table(9)).err().unwrap().to_string()
    };
    assert!(refused(&tokenizer_json(r#""dropout":0.5,"#)).contains("dropout"));
    assert!(!refused("{}").contains('\n'));
    let tokenizer = Tokenizer::from_sections(tokenizer_json("").as_bytes(), &table(9)).unwrap();
    let long = "a".repeat((16 << 20) + 1);
    assert!(matches!(tokenizer.encode(&long), Err(TextError::Size { .. })));
}

#[test]
fn truncated_and_changed_sections_never_panic() {
    let json = tokenizer_json("").into_bytes();
    let table = table(9);
    for length in 0..json.len() {
        assert!(Tokenizer::from_sections(&json[..length], &table).is_err(), "{length} bytes");
    }
    for at in 0..json.len() {
        for flip in [1, 4, 16, 0x80] {
            let mut hostile = json.clone();
            hostile[at] ^= flip;
            let Ok(tokenizer) = Tokenizer::from_sections(&hostile, &table) else { continue };
            let text = "ab <|im_end|><tool> é";
            let _ = (tokenizer.encode_trusted(text), tokenizer.encode(text));
        }
    }
}
