//! The program as scripts and people call it: prompts from anywhere, sizes and numbers as people
//! write them, answers for programs, and no result that is none.

use std::fs;

use crate::blobs::babbling;
use crate::program::{
    Argument, FAILED, Outcome, USAGE, hardtack, names, run, run_in_shell, run_with_bytes,
    run_with_input,
};
use hardtack_testing::checkpoint::Checkpoint;
use serde_json::Value;

/// Continues a text with these flags.
fn continued(flags: &[&str]) -> Outcome {
    let blob = babbling();
    let mut arguments: Vec<Argument<'_>> = vec![&"run", &blob];
    arguments.extend(flags.iter().map(|flag| flag as Argument<'_>));
    run(&arguments)
}

/// Talks with these lines.
fn talked(input: &[u8], flags: &[&str]) -> Outcome {
    let blob = babbling();
    let mut arguments: Vec<Argument<'_>> = vec![&"chat", &blob, &"-n", &"4"];
    arguments.extend(flags.iter().map(|flag| flag as Argument<'_>));
    run_with_bytes(&arguments, input)
}

#[test]
fn a_prompt_comes_from_anywhere() {
    let blob = babbling();
    let expected = continued(&["-p", "hello", "-n", "8"]).succeeded().out;
    assert!(expected.starts_with("hello") && expected.len() > "hello\n".len() + 4, "{expected:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "hello\n").unwrap();
    assert_eq!(run(&[&"run", &blob, &"-f", &file.path(), &"-n", &"8"]).succeeded().out, expected);
    for flags in [&[][..], &["-f", "-"], &["-p", "-"]] {
        let mut arguments: Vec<Argument<'_>> = vec![&"run", &blob, &"-n", &"8"];
        arguments.extend(flags.iter().map(|flag| flag as Argument<'_>));
        assert_eq!(run_with_input(&arguments, "hello\n").succeeded().out, expected, "{flags:?}");
    }
    for text in ["- item", "--bits", "-1", "-n", "--"] {
        let outcome = continued(&["-n", "1", "-p", text]).succeeded();
        assert!(outcome.out.starts_with(text), "{outcome:#?}");
    }
    let outcome =
        continued(&["--chat", "--system", "- be brief", "-p", "- item", "-n", "1"]).succeeded();
    let alone = continued(&["--chat", "-p", "- item", "-n", "1"]).succeeded();
    let more =
        outcome.numbers_before("prompt tokens")[0] - alone.numbers_before("prompt tokens")[0];
    assert_eq!(
        more,
        "_system\n- be brief_\n".len() as u64,
        "a byte is a token, a control token is one"
    );
    // Nothing at all is a command line that cannot be read; a folder and a wide text are files that
    // cannot.
    let nothing = continued(&[]);
    assert_eq!(nothing.code, Some(USAGE), "{nothing:#?}");
    assert!(
        nothing.err.contains("--prompt TEXT") && nothing.err.contains("--help"),
        "{nothing:#?}"
    );
    continued(&["-f", "nowhere.txt"]).refused(&["nowhere.txt", "No such file"]);
    fs::write(file.path(), b"\xff\xfeh\0i\0").unwrap();
    run(&[&"run", &blob, &"-f", &file.path()]).refused(&["UTF-16"]);
    // Another encoding is read as far as it goes, and a line says so.
    fs::write(file.path(), b"caf\xe9").unwrap();
    let outcome = run(&[&"run", &blob, &"-f", &file.path(), &"-n", &"1"]).succeeded();
    assert!(
        outcome.out.starts_with("caf\u{fffd}") && outcome.err.contains("no UTF-8 from byte 3 on"),
        "{outcome:#?}"
    );
}

#[test]
fn a_prompt_may_be_longer_than_a_command_line() {
    // Longer than one argument may be; the context is what it does not fit.
    let long = "word ".repeat(30_000);
    let outcome = run_with_input(&[&"run", &babbling(), &"-n", &"1"], &long);
    outcome.refused(&["the prompt has 150000 tokens", "512 fit the context"]);
}

#[test]
fn an_answer_without_limit_ends_with_the_context() {
    let outcome = continued(&["-p", "hello", "-n", "-1", "--ctx", "64"]).succeeded();
    // A token is a letter; the last one is not in the context any more.
    assert_eq!(outcome.out.trim_end().len(), 64 + 1, "{outcome:#?}");
    assert!(outcome.err.contains("the context is full"), "{outcome:#?}");
    for bad in ["-2", "many", "18446744073709551615"] {
        let outcome = continued(&["-p", "x", "-n", bad]);
        assert_eq!(outcome.code, Some(USAGE), "{outcome:#?}");
        assert!(outcome.err.contains("-1 for no limit"), "{outcome:#?}");
    }
}

#[test]
fn sizes_are_read_as_people_write_them() {
    for size in ["2g", "2gb", "2Gi", "2GB", "2 GB", "1e9", "1.5GiB", "512m"] {
        continued(&["-p", "x", "-n", "1", "--memory", size]).succeeded();
    }
    let outcome = continued(&["-p", "x", "--memory", "2 loaves"]);
    assert_eq!(outcome.code, Some(USAGE));
    assert!(
        outcome.err.contains("'loaves' is no unit") && outcome.err.contains("1.5GiB"),
        "{outcome:#?}"
    );
}

#[test]
fn a_rate_of_one_token_is_none() {
    let one = continued(&["-p", "x", "-n", "1"]).succeeded();
    assert!(one.err.contains("; 1 new token]"), "{one:#?}");
    let more = continued(&["-p", "x", "-n", "8"]).succeeded();
    assert!(more.err.contains("; 8 new tokens at ") && !more.err.contains(" 0.0 "), "{more:#?}");
}

#[test]
fn a_sampled_text_has_a_seed_that_is_said() {
    let sampled = |more: &[&str]| {
        continued(&[&["-p", "hello", "-n", "40", "--temperature", "5"], more].concat()).succeeded()
    };
    let seed = |outcome: &Outcome| {
        let (_, after) =
            outcome.err.rsplit_once("seed ").unwrap_or_else(|| panic!("no seed: {outcome:#?}"));
        after.trim_end_matches("]\n").to_owned()
    };
    let (first, second) = (sampled(&[]), sampled(&["--seed", "-1"]));
    assert_ne!(first.out, second.out);
    assert_ne!(seed(&first), seed(&second));
    assert_eq!(sampled(&["--seed", &seed(&first)]).out, first.out);
    // The likeliest text has no seed.
    assert!(!continued(&["-p", "hello", "-n", "4"]).succeeded().err.contains("seed"));
    let chat = talked(b"hello\n", &["--temperature", "5"]).succeeded();
    assert!(chat.err.lines().next().unwrap().contains(", seed "), "{chat:#?}");
}

#[test]
fn stop_texts_have_escapes() {
    let whole = continued(&["-p", "hello", "-n", "24"]).succeeded().out;
    let letter = whole["hello".len()..].chars().nth(5).unwrap();
    let at = "hello".len() + whole["hello".len()..].find(letter).unwrap();
    let stop = format!("\\x{:02x}", u32::from(letter));
    assert_eq!(
        continued(&["-p", "hello", "-n", "24", "--stop", &stop]).succeeded().out,
        format!("{}\n", &whole[..at])
    );
    // One that is no escape is a usage error, a line break is none.
    continued(&["-p", "hello", "-n", "4", "--stop", "\\n"]).succeeded();
    assert_eq!(continued(&["-p", "hello", "--stop", "\\xzz"]).code, Some(USAGE));
}

#[test]
fn an_answer_for_programs() {
    let text = continued(&["-p", "hello", "-n", "8"]).succeeded().out;
    let outcome = continued(&["-p", "hello", "-n", "8", "--json"]).succeeded();
    assert_eq!(outcome.err, "");
    let report: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(report["prompt"], "hello");
    assert_eq!(report["text"], text.trim_end_matches('\n')["hello".len()..]);
    assert_eq!((&report["ended"], &report["tokens"]), (&"length".into(), &8.into()));
    assert_eq!(report["prompt_tokens"], 5);
    assert!(report["tokens_per_second"].as_f64().unwrap() > 0.0 && report["seed"].is_null());
    let outcome = continued(&["-p", "\u{1b}[2J\u{9b}", "-n", "1", "--json"]).succeeded();
    assert!(
        !outcome.out.contains(|letter: char| letter.is_control() && letter != '\n'),
        "{outcome:#?}"
    );
    let report: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(report["prompt"], "\u{1b}[2J\u{9b}");
    let chat = continued(&["--chat", "-p", "hello", "-n", "8", "--json"]).succeeded();
    assert_eq!(
        serde_json::from_str::<Value>(&chat.out).unwrap()["text"].as_str().unwrap().len(),
        8
    );
}

#[test]
fn quiet_is_results_and_errors_alone() {
    let blob = babbling();
    assert_eq!(run(&[&"run", &blob, &"-p", &"hello", &"-n", &"4", &"--quiet"]).succeeded().err, "");
    assert_eq!(run(&[&"-q", &"run", &blob, &"-p", &"hello", &"-n", &"4"]).succeeded().err, "");
    assert_eq!(talked(b"hello\n", &["-q"]).succeeded().err, "");
    run(&[&"run", &"nowhere.tack", &"-p", &"x", &"-q"]).refused(&["nowhere.tack"]);
}

#[test]
fn more_threads_than_processors_are_warned_about() {
    let outcome = continued(&["-p", "x", "-n", "1", "-t", "1000"]).succeeded();
    let cores = std::thread::available_parallelism().unwrap();
    if cores.get() < 1000 {
        assert!(
            outcome.err.starts_with(&format!("warning: 1000 threads on {cores} processor")),
            "{outcome:#?}"
        );
    }
    assert!(!continued(&["-p", "x", "-n", "1", "-t", "1"]).succeeded().err.contains("warning"));
}

#[test]
fn commands_of_a_chat() {
    let outcome = talked(b"/exit\nnever read\n", &[]).succeeded();
    assert_eq!(outcome.out, "");
    assert_eq!(talked(b"/bye\nnever read\n", &[]).succeeded().out, "");
    let unknown = talked(b"/fetch me a stick\n/exit\n", &[]).succeeded();
    assert!(unknown.out.is_empty() && unknown.err.contains("no command /fetch;"), "{unknown:#?}");
    let slash = talked(b"//usr\n", &["--show-prompt"]).succeeded();
    assert!(slash.err.contains("user\n/usr<|im_end|>"), "{slash:#?}");
    let help = talked(b"/help\n", &[]).succeeded();
    for word in ["/reset", "/save", "/exit", "/bye", "Alt-Enter", "\"\"\"", "Ctrl-C"] {
        assert!(help.out.contains(word), "{word}: {help:#?}");
    }
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("a talk");
    let line = format!("hello\n/save {}\n/exit\n", file.display());
    assert!(talked(line.as_bytes(), &[]).succeeded().err.contains("has the conversation]"));
    let again = talked(b"/exit\n", &["--session", file.to_str().unwrap()]).succeeded();
    assert!(again.err.contains("tokens reused]"), "{again:#?}");
    assert_eq!(names(scratch.path()), ["a talk"]);
}

#[test]
fn a_byte_that_is_no_text_costs_its_place() {
    let outcome = talked(b"hi\ncaf\xe9\nhi again\n", &["--show-prompt"]).succeeded();
    assert!(outcome.err.contains("user\ncaf\u{fffd}<|im_end|>"), "{outcome:#?}");
    assert!(outcome.err.contains("user\nhi again<|im_end|>"), "{outcome:#?}");
    assert_eq!(outcome.out.lines().count(), 3);
}

#[test]
fn a_message_that_does_not_fit_is_a_failure_in_the_end() {
    let long = [b"word ".repeat(5000), b"\nhi\n".to_vec()].concat();
    for input in [long, [vec![b'x'; 3 << 20], b"\nhi\n".to_vec()].concat()] {
        let outcome = talked(&input, &[]);
        assert_eq!(outcome.code, Some(FAILED), "{outcome:#?}");
        assert!(outcome.err.ends_with("hardtack: 1 message was not sent\n"), "{outcome:#?}");
        assert_eq!(outcome.out.lines().count(), 1, "the other one was answered: {outcome:#?}");
    }
}

#[test]
fn numbers_out_of_range_are_told_in_people_s_numbers() {
    let outcome = continued(&["-p", "x", "--top-p", "0"]).refused(&["top-p", "found 0"]);
    assert!(!outcome.err.contains("00000"), "{outcome:#?}");
    continued(&["-p", "x", "--temperature", "-1"]).refused(&["temperature", "found -1"]);
    let outcome = continued(&["-p", "x", "--seed", "-7"]);
    assert!(outcome.err.contains("-1 for a random seed"), "{outcome:#?}");
}

#[test]
fn no_number_overflows() {
    let scratch = tempfile::tempdir().unwrap();
    let text = scratch.path().join("text");
    fs::write(&text, "a text of some words ".repeat(100)).unwrap();
    let blob = babbling();
    let most = u64::MAX.to_string();
    let limit = (1u64 << 32).to_string();
    let cases: [(&[&str], &[&str]); 8] = [
        (&["eval", "stream"], &["--stretch", "1", "--tokens"]),
        (&["eval", "stream"], &["--stretch"]),
        (&["eval", "ppl"], &["--skip"]),
        (&["eval", "ppl"], &["--windows"]),
        (&["eval", "ppl"], &["--ctx"]),
        (&["eval", "needle"], &["--depths"]),
        (&["eval", "needle"], &["--before"]),
        (&["eval", "needle"], &["--trials"]),
    ];
    for (command, flags) in cases {
        for number in [&most, &limit] {
            let mut arguments: Vec<Argument<'_>> =
                command.iter().map(|word| word as Argument<'_>).collect();
            arguments.extend([&blob as Argument<'_>, &"--text", &text]);
            arguments.extend(flags.iter().map(|flag| flag as Argument<'_>));
            arguments.push(number);
            let takes_long = flags.contains(&"--tokens")
                || flags.contains(&"--trials")
                || flags.contains(&"--windows");
            if number == &limit && takes_long {
                continue;
            }
            let outcome = run(&arguments);
            assert!(
                matches!(outcome.code, Some(FAILED | USAGE)),
                "{flags:?} {number}: {outcome:#?}"
            );
            assert!(!outcome.err.contains("panicked"), "{flags:?} {number}: {outcome:#?}");
        }
    }
    for flag in ["-p", "-n", "--runs", "--threads", "--ctx", "--batch"] {
        let outcome = run(&[&"bench", &blob, &flag, &most]);
        assert!(matches!(outcome.code, Some(FAILED | USAGE)), "{flag}: {outcome:#?}");
    }
}

#[test]
fn a_figure_that_is_no_number_is_no_result() {
    let mut checkpoint = Checkpoint::made();
    // Finite in the file; sums of such numbers are not.
    for index in 0..64 {
        checkpoint.set("model.norm.weight", index, 3e38);
    }
    checkpoint.save().save_tokenizer();
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("broken.tack");
    run(&[&"bake", &checkpoint.path(), &"-o", &blob, &"--bits", &"f32"]).succeeded();
    let text = scratch.path().join("text");
    fs::write(&text, "a text of some words ".repeat(100)).unwrap();
    let flags: [&str; 2] = ["--ctx", "64"];
    run(&[&"eval", &"ppl", &blob, &"--text", &text, &flags[0], &flags[1]])
        .refused(&["perplexity is"]);
    run(&[&"eval", &"ppl", &blob, &"--text", &text, &flags[0], &flags[1], &"--json"])
        .refused(&["perplexity is"]);
    run(&[
        &"eval",
        &"kld",
        &blob,
        &"--against",
        &babbling(),
        &"--text",
        &text,
        &flags[0],
        &flags[1],
    ])
    .refused(&["perplexity is"]);
    run(&[&"eval", &"stream", &blob, &"--text", &text, &"--tokens", &"128", &"--stretch", &"64"])
        .refused(&["perplexity is"]);
}

#[test]
fn a_bench_of_one_token_claims_nothing() {
    let outcome =
        run(&[&"bench", &babbling(), &"-n", &"1", &"-p", &"4", &"--runs", &"1"]).succeeded();
    assert!(outcome.out.contains("too short") && !outcome.out.contains('%'), "{outcome:#?}");
    let outcome =
        run(&[&"bench", &babbling(), &"-n", &"1", &"-p", &"4", &"--runs", &"1", &"--json"])
            .succeeded();
    assert!(
        serde_json::from_str::<Value>(&outcome.out).unwrap()["bandwidth_share"].is_null(),
        "{outcome:#?}"
    );
}

#[test]
fn shells_and_man_know_the_command_line() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&[&"completions", &shell]).succeeded();
        for word in ["hardtack", "bake", "max-tokens", "quiet"] {
            assert!(script.out.contains(word), "{shell}: no {word}");
        }
        assert_eq!(script.err, "");
    }
    let page = run(&[&"man"]).succeeded();
    assert!(page.out.contains(".TH hardtack 1") && page.out.contains("2GB"), "{page:#?}");
    let page = run(&[&"man", &"run"]).succeeded();
    assert!(
        page.out.contains(".TH hardtack\\-run 1") || page.out.contains(".TH hardtack-run 1"),
        "{page:#?}"
    );
    assert!(page.out.contains("temperature"), "{page:#?}");
    run(&[&"man", &"eval", &"ppl"]).succeeded();
    run(&[&"man", &"fry"]).refused(&["no command \"fry\"", "bake"]);
    // Whoever reads only the beginning is no error.
    let cut = run_in_shell("hardtack | head -n 1", &[&"man"]);
    assert_eq!((cut.code, cut.err.as_str()), (Some(0), ""));
}

/// Every flag has a help text, and a line of it in its command's page.
#[test]
fn every_flag_is_documented() {
    let commands: [&[&str]; 12] = [
        &["bake"],
        &["chat"],
        &["run"],
        &["inspect"],
        &["bench"],
        &["completions"],
        &["man"],
        &["eval", "ppl"],
        &["eval", "kld"],
        &["eval", "stream"],
        &["eval", "needle"],
        &["eval", "tasks"],
    ];
    for command in commands {
        let output = hardtack(&[]).args(command).arg("--help").output().unwrap();
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).unwrap();
        let mut lines = help.lines().map(str::trim).peekable();
        while let Some(line) = lines.next() {
            if line.starts_with('-') && line.contains("--") {
                // clap's short help has the text beside the flag, its long help below.
                let beside = line.split("  ").filter(|part| !part.trim().is_empty()).count() > 1;
                let below = lines
                    .peek()
                    .is_some_and(|next| next.starts_with(|letter: char| letter.is_alphabetic()));
                assert!(beside || below, "{command:?}: no help for {line:?}");
            }
        }
    }
}

#[test]
fn a_drawing_is_written_through_no_link() {
    let scratch = tempfile::tempdir().unwrap();
    let (drawing, victim) = (scratch.path().join("bits.svg"), scratch.path().join("victim"));
    fs::write(&victim, "precious").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&victim, scratch.path().join("bits.svg.partial")).unwrap();
    run(&[&"inspect", &babbling(), &"--plot", &drawing]).succeeded();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(fs::read_to_string(&drawing).unwrap().starts_with("<svg"));
    let left = names(scratch.path());
    assert!(
        left.iter().all(|name| ["bits.svg", "bits.svg.partial", "victim"].contains(&name.as_str())),
        "{left:?}"
    );
}

#[test]
fn a_long_text_is_judged_in_little_memory() {
    let scratch = tempfile::tempdir().unwrap();
    let text = scratch.path().join("text");
    let words = ["a", "text", "of", "some", "words,", "and\n", "caf\u{e9}", "  ", "1984"];
    let long: String =
        (0..60_000).map(|at| format!("{} ", words[at * 7919 % 8191 % words.len()])).collect();
    fs::write(&text, &long).unwrap();
    let blob = babbling();
    let judge = |more: &[Argument<'_>]| {
        let mut flags: Vec<Argument<'_>> =
            vec![&"eval", &"ppl", &blob, &"--text", &text, &"--ctx", &"64"];
        flags.extend_from_slice(more);
        run(&flags)
    };
    let first = judge(&[&"--windows", &"2", &"--json", &"--memory", &"1g"]);
    let report: Value = serde_json::from_str(&first.succeeded().out).unwrap();
    // A byte is a token.
    assert_eq!(report["text_tokens"].as_u64(), Some(long.len() as u64));
    assert_eq!(report["windows"].as_u64(), Some(2));
    let needed = run(&[&"run", &babbling(), &"-p", &"x", &"--ctx", &"64", &"--memory", &"1"]);
    let least = needed.numbers_before("bytes").into_iter().max().unwrap();
    let more = (least + 500_000).to_string();
    judge(&[&"--memory", &more]).refused(&["the text's tokens take", "--memory"]);
}
