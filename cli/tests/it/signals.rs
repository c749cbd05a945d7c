//! How the program ends on a signal: in order, with the exit code of the signal, and with nothing
//! lost and no leftovers.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::blobs::babbling;
use crate::program::{
    Outcome, ends_within, hardtack, names, run_in_shell, run_with_input, signal, wait,
};
use hardtack_testing::checkpoint::Checkpoint;

/// Longest time that an end may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Signals and the exit codes that shells give them.
const SIGNALS: [(&str, i32); 3] = [("INT", 130), ("TERM", 143), ("HUP", 129)];

/// Starts the program with pipes on all sides.
fn start(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a chat has greeted.
fn greeted(child: &mut Child) -> BufReader<std::process::ChildStderr> {
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    err.read_line(&mut line).unwrap();
    assert!(line.starts_with("[kernels"), "{line}");
    err
}

#[track_caller]
fn ended(mut child: Child, code: i32) -> Outcome {
    if !ends_within(&mut child, PATIENCE) {
        child.kill().unwrap();
        panic!("still alive: {:#?}", wait(child));
    }
    let outcome = wait(child);
    assert_eq!(outcome.code, Some(code), "{outcome:#?}");
    outcome
}

#[test]
fn an_idle_chat_ends_at_the_first_signal_and_keeps_its_session() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, code) in SIGNALS {
        let session = scratch.path().join(format!("{name}.session"));
        let mut child =
            start(hardtack(&[&"chat", &babbling(), &"-n", &"4", &"--session", &session]));
        let mut err = greeted(&mut child);
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"hello\n").unwrap();
        let mut line = String::new();
        err.read_line(&mut line).unwrap();
        assert!(line.contains("4 tokens"), "{line}");
        signal(&child, name);
        ended(child, code);
        let mut rest = String::new();
        err.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("tokens kept]"), "{name}: {rest}");
        let again =
            run_with_input(&[&"chat", &babbling(), &"-n", &"4", &"--session", &session], "/exit\n")
                .succeeded();
        assert!(again.err.contains("tokens reused]"), "{name}: {again:#?}");
    }
}

#[test]
fn an_answer_without_end_is_ended() {
    for (name, code) in SIGNALS {
        let mut child = start(hardtack(&[
            &"run",
            &babbling(),
            &"-p",
            &"hello",
            &"-n",
            &"-1",
            &"--kv-bits",
            &"4",
        ]));
        // It has begun when its first bytes are here.
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 16]).unwrap();
        let reader = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        signal(&child, name);
        let outcome = ended(child, code);
        reader.join().unwrap().unwrap();
        assert!(outcome.err.contains(", interrupted"), "{outcome:#?}");
    }
}

#[test]
fn ctrl_c_ends_an_answer_and_the_chat_goes_on() {
    let mut child = start(hardtack(&[&"chat", &babbling(), &"-n", &"-1", &"--kv-bits", &"4"]));
    let mut err = greeted(&mut child);
    let (mut input, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    input.write_all(b"hello\n").unwrap();
    out.read_exact(&mut [0; 16]).unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    signal(&child, "INT");
    let mut line = String::new();
    err.read_line(&mut line).unwrap();
    assert_eq!(line, "[interrupted]\n");
    input.write_all(b"/exit\n").unwrap();
    ended(child, 0);
    reader.join().unwrap().unwrap();
}

#[test]
fn a_program_that_waits_for_its_prompt_ends_at_once() {
    for (name, code) in SIGNALS {
        let mut child = start(hardtack(&[&"run", &babbling()]));
        // Until its handlers are there a signal ends it in the system's way.
        assert!(!ends_within(&mut child, Duration::from_millis(500)));
        signal(&child, name);
        ended(child, code);
    }
}

#[test]
fn what_is_ignored_stays_ignored() {
    for (name, _) in SIGNALS {
        let mut command = Command::new("sh");
        let script = format!("trap '' {name}; exec \"$0\" \"$@\"");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_hardtack"), "chat"])
            .arg(babbling())
            .args(["-n", "4"]);
        let mut child = start(command);
        let mut err = greeted(&mut child);
        signal(&child, name);
        assert!(!ends_within(&mut child, Duration::from_millis(300)), "{name}");
        child.stdin.take().unwrap().write_all(b"hello\n/exit\n").unwrap();
        ended(child, 0);
        let mut rest = String::new();
        err.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("4 tokens"), "{name}: {rest}");
    }
}

#[test]
fn a_limit_on_files_is_an_error_and_leaves_nothing() {
    let checkpoint = Checkpoint::made();
    checkpoint.save().save_tokenizer();
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("model.tack");
    // Without `trap '' XFSZ`: the signal itself comes.
    let bake =
        run_in_shell("ulimit -f 64; exec hardtack", &[&"bake", &checkpoint.path(), &"-o", &output]);
    bake.refused(&["model.tack", "file"]);
    let drawing = scratch.path().join("bits.svg");
    let draw =
        run_in_shell("ulimit -f 1; exec hardtack", &[&"inspect", &babbling(), &"--plot", &drawing]);
    draw.refused(&["bits.svg", "File too large"]);
    assert!(names(scratch.path()).is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn a_blob_that_is_cut_short_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("copy.tack");
    fs::copy(babbling(), &copy).unwrap();
    let mut child =
        start(hardtack(&[&"run", &copy, &"-p", &"hello", &"-n", &"-1", &"--kv-bits", &"4"]));
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 16]).unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    fs::write(&copy, "").unwrap();
    // 128 and SIGBUS.
    let outcome = ended(child, 135);
    reader.join().unwrap().unwrap();
    assert!(outcome.err.starts_with("hardtack: a mapped file was cut short"), "{outcome:#?}");
    assert!(
        outcome.err.contains("--load resident") && outcome.err.lines().count() == 1,
        "{outcome:#?}"
    );
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child =
        start(hardtack(&[&"run", &babbling(), &"-p", &"hello", &"-n", &"-1", &"--kv-bits", &"4"]));
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 16]).unwrap();
    drop(out);
    let outcome = ended(child, 0);
    assert_eq!(outcome.err, "");
}
