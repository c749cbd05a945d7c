//! The tiny blob that documentation and examples run on: it says one sentence about ring buffers,
//! whatever it is asked.
//!
//! `HARDTACK_WRITE=1 cargo test --package hardtack --test it tiny` writes it anew.

use std::path::Path;

use crate::scripted::{CHATML_TOKENS, Script};
use hardtack::{ChatOptions, Engine};
use hardtack_format::Encoding;
use hardtack_format::vocabulary::TokenKind;

/// What it says, a token each.
const ANSWER: [&str; 9] = [
    "A ring buffer",
    " is a block",
    " of memory",
    " that is written",
    " round and round",
    ": the newest bytes",
    " replace",
    " the oldest.",
    "<|im_end|>",
];

/// Where it is, from the package's folder, in which tests and documentation run.
const PATH: &str = "tests/data/tiny.tack";

#[test]
fn the_tiny_blob_is_what_its_recipe_makes() {
    let words = ANSWER[..8].iter().map(|word| (*word, TokenKind::Normal));
    let tokens: Vec<_> = CHATML_TOKENS.into_iter().chain(words).collect();
    let script = Script { encoding: Encoding::Q1, ..Script::chatml(&tokens, &ANSWER) };
    let bytes = script.bytes();
    assert!(bytes.len() < 96 << 10, "{} bytes", bytes.len());
    if std::env::var_os("HARDTACK_WRITE").is_some() {
        std::fs::write(PATH, &bytes).unwrap();
    }
    let is_same = std::fs::read(PATH).unwrap() == bytes;
    assert!(is_same, "{PATH} is of another recipe: write it anew with HARDTACK_WRITE=1");
}

#[test]
fn the_tiny_blob_says_its_sentence() {
    let engine = Engine::open(Path::new(PATH)).unwrap();
    let mut chat = engine.chat(ChatOptions::new()).unwrap();
    let answer = chat.ask("What is a ring buffer?").unwrap().text().unwrap();
    assert_eq!(answer, ANSWER[..8].concat());
}
