//! Every example, run on the tiny blob.

use std::io::Write;
use std::process::{Command, Stdio};

/// The blob says one sentence, whatever it is asked: `runtime/tests/tiny.rs` makes it.
const BLOB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime/tests/data/tiny.tack");
const SENTENCE: &str = "A ring buffer is a block of memory that is written round and round: \
                        the newest bytes replace the oldest.";

/// What a program writes, given some arguments after the blob and some lines.
fn run(program: &str, arguments: &[&str], lines: &str) -> String {
    let mut child = Command::new(program)
        .arg(BLOB)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn chat() {
    let said = run(env!("CARGO_BIN_EXE_chat"), &[], "What is a ring?\nAnd again?\n");
    assert_eq!(said, format!("{SENTENCE}\n{SENTENCE}\n"));
}

#[test]
fn talk() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("talk");
    let said = run(env!("CARGO_BIN_EXE_talk"), &[file.to_str().unwrap()], "Hello\n");
    assert_eq!(said, format!("{SENTENCE}\n"));
    assert!(file.is_file());
}

#[test]
fn continue_() {
    let said = run(env!("CARGO_BIN_EXE_continue"), &["Once: "], "");
    assert_eq!(said.trim_end(), SENTENCE);
}

#[test]
fn stream() {
    let program = env!("CARGO_BIN_EXE_stream");
    let said = run(program, &["What is a ring?"], "");
    assert_eq!(said, format!("{SENTENCE}\n[Finished after 8 tokens]\n"));
    let said = run(program, &["What is a ring?", "13"], "");
    assert!(said.starts_with("A ring buffer") && said.contains("[Cancelled after"), "{said}");
}

#[test]
fn fork() {
    let said = run(env!("CARGO_BIN_EXE_fork"), &["A question: ", "what? ", "why? "], "");
    let line = |question| format!("A question: {question}{SENTENCE}\n");
    assert_eq!(said, line("what? ") + &line("why? "));
}

#[test]
fn mask() {
    let program = env!("CARGO_BIN_EXE_mask");
    for words in [&["yes", "no"][..], &["perhaps"]] {
        let said = run(program, &[&["Is it?"], words].concat(), "");
        assert!(words.contains(&said.trim_end()), "{said}");
    }
}

#[test]
fn embeddings() {
    let lines = "a plain line\na ring buffer\nanother line\n";
    let said = run(env!("CARGO_BIN_EXE_embeddings"), &["a ring buffer"], lines);
    assert!(said.starts_with("1.000 a ring buffer\n"), "{said}");
    assert_eq!(said.lines().count(), 3);
}

#[test]
fn budget() {
    let program = env!("CARGO_BIN_EXE_budget");
    let said = run(program, &["40000000"], "");
    assert!(said.contains("context 4096 takes") && said.contains("KV"), "{said}");
    let said = run(program, &["1000"], "");
    assert!(said.contains("no context fits"), "{said}");
}
