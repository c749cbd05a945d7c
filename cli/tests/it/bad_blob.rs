//! Every bad blob, setting, token list and command line ends with its exit code and one line that
//! says what was expected and found where.

use std::fs::{self, OpenOptions};
use std::path::Path;

use hardtack_testing::checkpoint::VOCABULARY;

use crate::blobs::{silent_blob, speaking_blob};
use crate::program::{Argument, FAILED, USAGE, names, run};

#[test]
fn damaged_blobs() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = speaking_blob(scratch.path()) else { return };
    let whole = fs::read(&blob).unwrap();
    let damaged = scratch.path().join("damaged.tack");
    let inspect = || run(&[&"inspect", &damaged]);
    let verify = || run(&[&"inspect", &damaged, &"--verify"]);

    // Cut anywhere, or with one byte too many.
    for length in [0, 1, 127, 128, 200, whole.len() / 2, whole.len() - 1] {
        fs::write(&damaged, &whole[..length]).unwrap();
        inspect().refused(&["damaged.tack"]);
        let words =
            if length < 128 { ["damaged.tack", "truncated"] } else { ["expected", "found"] };
        run(&[&"run", &damaged, &"-p", &"hi"]).refused(&["damaged.tack"]);
        if length != 200 {
            run(&[&"bench", &damaged, &"--load", &"resident"]).refused(&words);
        }
    }
    fs::write(&damaged, [&whole[..], &[0]].concat()).unwrap();
    inspect().refused(&[
        "file_bytes",
        &format!("expected {}", whole.len()),
        &format!("found {}", whole.len() + 1),
    ]);
    fs::write(&damaged, "It was a dark and stormy night; the rain fell in torrents.".repeat(10))
        .unwrap();
    inspect().refused(&["damaged.tack", "magic"]);
    run(&[&"inspect", &scratch.path().join("nowhere.tack")])
        .refused(&["nowhere.tack", "No such file"]);
    run(&[&"inspect", &scratch.path()]).refused(&[scratch.path().to_str().unwrap()]);

    // A bit that is wrong in the header or the index shows at once, in the weights when every hash
    // is checked.
    let flip = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&damaged, bytes).unwrap();
    };
    for at in [0, 8, 12, 16, 24, 28, 40, 64, 127, 128, 130, 500] {
        flip(at);
        inspect().refused(&["damaged.tack"]);
    }
    flip(whole.len() - 1);
    inspect().succeeded();
    verify().refused(&["damaged.tack", "section layer 2", "hash"]);
    for command in ["run", "chat"] {
        let flags: &[Argument<'_>] = &[&command, &damaged, &"--verify", &"-p", &"hi"];
        run(&flags[..if command == "run" { 5 } else { 3 }]).refused(&["section layer 2", "hash"]);
    }
    fs::write(&damaged, &whole).unwrap();
    assert!(verify().succeeded().out.contains("all hashes verified"));
}

#[test]
fn a_model_without_tokenizer_does_not_speak() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = silent_blob(scratch.path()) else { return };
    let text = scratch.path().join("text");
    fs::write(&text, "a text").unwrap();
    let words = ["silent.tack", "no tokenizer section"];
    run(&[&"run", &blob, &"-p", &"hi"]).refused(&words);
    run(&[&"chat", &blob]).refused(&words);
    run(&[&"eval", &"ppl", &blob, &"--text", &text]).refused(&words);
}

#[test]
fn settings_out_of_range() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = speaking_blob(scratch.path()) else { return };
    let cases: &[(&[&str], &[&str])] = &[
        (&["--kernels", "nonsense"], &["'nonsense'", "available: scalar"]),
        (&["--threads", "5000"], &["threads", "expected 1 to 1024", "found 5000"]),
        (&["--ctx", "513"], &["context", "expected 1 to 512", "found 513"]),
        (&["--batch", "0"], &["batch", "expected 1 to 1024", "found 0"]),
        (&["--batch", "1025"], &["batch", "expected 1 to 1024", "found 1025"]),
        (&["--temperature=-1"], &["temperature", "expected 0 to 100", "found -1"]),
        (&["--temperature", "NaN"], &["temperature", "expected 0 to 100", "found NaN"]),
        (&["--temperature", "inf"], &["temperature", "expected 0 to 100", "found inf"]),
        (&["--top-p", "0"], &["top-p", "found 0"]),
        (&["--top-p", "1.5"], &["top-p", "found 1.5"]),
        (&["--min-p", "2"], &["min-p", "expected 0 to 1", "found 2"]),
        (&["--repetition-penalty", "0"], &["repetition penalty", "found 0"]),
        (&["--stop", ""], &["stop", "empty"]),
        (&["--stop", &"x".repeat(65)], &["stop", "more than 64 bytes"]),
        (&["--stop=a"; 9], &["stop", "more than 8"]),
    ];
    for (flags, words) in cases {
        for first in [&["run", "-p", "hi"][..], &["chat"]] {
            let mut arguments: Vec<Argument<'_>> = Vec::new();
            arguments.extend(first.iter().chain(*flags).map(|flag| flag as Argument<'_>));
            arguments.push(&blob);
            let mut outcome = run(&arguments);
            // A chat says what runs where as soon as it has a session.
            if let Some((greeting, rest)) =
                outcome.err.split_once('\n').filter(|(line, _)| line.starts_with("[kernels"))
            {
                assert!(greeting.ends_with(']'));
                outcome.err = rest.to_owned();
            }
            outcome.refused(words);
        }
    }
    run(&[&"run", &blob, &"-p", &""]).refused(&["prompt is empty"]);
    run(&[&"run", &blob, &"-p", &"x".repeat(513)])
        .refused(&["the prompt has 513 tokens", "512 fit"]);
    run(&[&"bench", &blob, &"--runs", &"0"]).refused(&["at least one run"]);
}

#[test]
fn memory_is_held_to_the_byte() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = speaking_blob(scratch.path()) else { return };
    let run = |memory: u64, context: u64| {
        let (memory, context) = (memory.to_string(), context.to_string());
        run(&[&"run", &blob, &"-p", &"h", &"-n", &"2", &"--memory", &memory, &"--ctx", &context])
    };
    let least = run(1, 512)
        .refused(&["are needed", "limit is 1;", "no context fits"])
        .numbers_before("bytes")[1];
    let all =
        run(least, 512).refused(&["a context of 1 tokens would fit"]).numbers_before("bytes")[0];
    run(all, 512).succeeded();
    run(least, 1).succeeded();
    run(least - 1, 1).refused(&["no context fits", &format!("at least {least} bytes")]);
    for memory in [all - 1, (all + least) / 2, least + 5000] {
        let fits = run(memory, 512)
            .refused(&[&format!("limit is {memory};"), "would fit"])
            .numbers_before("tokens")[0];
        run(memory, fits).succeeded();
        run(memory, fits + 1).refused(&[&format!("a context of {fits} tokens would fit")]);
    }
}

#[test]
fn token_lists_that_are_none() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = silent_blob(scratch.path()) else { return };
    let (tokens, out) =
        (scratch.path().join("tokens.json"), scratch.path().join("logits.safetensors"));
    let logits = |text: &str| {
        fs::write(&tokens, text).unwrap();
        run(&[&"eval", &"logits", &blob, &"--tokens", &tokens, &"--out", &out])
    };
    logits(&format!("[1, {VOCABULARY}]")).refused(&[
        "tokens.json",
        "token 320",
        "vocabulary size 320",
    ]);
    logits("[1, -1]").refused(&["tokens.json", "expected an array of token ids", "-1"]);
    logits("[1, 4294967296]").refused(&["tokens.json", "4294967296"]);
    logits("{\"tokens\": [1]}").refused(&["tokens.json", "expected an array of token ids", "map"]);
    logits("[1, 2").refused(&["tokens.json", "EOF"]);
    logits("").refused(&["tokens.json", "EOF"]);
    logits("[]").refused(&["tokens.json", "at least one", "found none"]);
    let many = format!("{:?}", vec![1; 513]);
    logits(&many).refused(&["context", "expected 1 to 512", "found 513"]);
    assert_eq!(names(scratch.path()), ["silent.tack", "tokens.json"]);

    OpenOptions::new().write(true).open(&tokens).unwrap().set_len(0).unwrap();
    fs::write(&tokens, "[1]").unwrap();
    let to = |out: &Path| run(&[&"eval", &"logits", &blob, &"--tokens", &tokens, &"--out", &out]);
    to(&scratch.path().join("nowhere/logits")).refused(&["nowhere/logits:", "No such file"]);
    to(scratch.path()).refused(&[scratch.path().to_str().unwrap(), "expected a file"]);
    to(&out).succeeded();
    run(&[&"eval", &"logits", &blob, &"--tokens", &scratch.path().join("nowhere"), &"--out", &out])
        .refused(&["nowhere"]);
}

#[test]
fn command_lines_that_cannot_be_read() {
    let cases: &[&[&str]] = &[
        &[],
        &["fry"],
        &["bake"],
        &["bake", "in"],
        &["bake", "in", "-o", "out", "--bits", "7"],
        &["bake", "in", "-o", "out", "--budget", "lots"],
        &["bake", "in", "-o", "out", "--budget", "0"],
        &["bake", "in", "-o", "out", "--budget", "1MiB", "--bits", "4"],
        &["run", "model"],
        &["run", "model", "-p", "hi", "--temperature", "warm"],
        &["run", "model", "-p", "hi", "--kv-type", "q8"],
        &["run", "model", "-p", "hi", "--ctx", "-1"],
        &["eval", "logits", "model", "--out", "x"],
        &["inspect", "model", "--loud"],
    ];
    for arguments in cases {
        let arguments: Vec<Argument<'_>> =
            arguments.iter().map(|argument| argument as Argument<'_>).collect();
        let outcome = run(&arguments);
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(USAGE), ""), "{outcome:#?}");
        assert!(outcome.err.contains("--help"), "{outcome:#?}");
    }
    assert_ne!(FAILED, USAGE);
    let help = run(&[&"--help"]).succeeded();
    for command in ["bake", "chat", "run", "inspect", "eval", "bench"] {
        assert!(help.out.contains(command), "{command}");
    }
}
