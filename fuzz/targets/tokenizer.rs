//! Any bytes as a `tokenizer.json`: read and used under the allocator's limit, without a panic that
//! gets out.
#![no_main]

use std::sync::LazyLock;

use hardtack::text::Tokenizer;
use hardtack_format::vocabulary::{self, TextRules, TokenKind};
use libfuzzer_sys::fuzz_target;

/// Ids for whatever the tokenizer returns: the first two are control tokens.
static VOCABULARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let pieces: Vec<String> = (0..64).map(|id| format!("piece {id}")).collect();
    let kind = |id| if id < 2 { TokenKind::Control } else { TokenKind::Normal };
    let tokens: Vec<(TokenKind, &[u8])> =
        (0..).map(kind).zip(pieces.iter().map(|piece| piece.as_bytes())).collect();
    vocabulary::write(&TextRules::default(), &tokens).expect("a valid table")
});

const TEXTS: [&str; 5] = [
    "",
    "a b  c\n",
    "<s>hello, world 12345!</s>",
    "\u{fdfa}\u{0130}\u{4e2d} e\u{301}\u{200d}\u{1f469}",
    "\0\u{feff}\t\r\n''``",
];

fuzz_target!(|json: &[u8]| {
    hardtack_fuzz::keep_limit();
    let Ok(tokenizer) = Tokenizer::from_sections(json, &VOCABULARY) else { return };
    for text in TEXTS {
        let _ = (tokenizer.encode_trusted(text), tokenizer.encode(text));
    }
    let _ = tokenizer.encode(&"ab ".repeat(2000));
});
