//! Programs that are killed at any moment: nothing is lost but what was in flight, and the next run
//! removes whatever is left over.
//!
//! A few rounds by default; HARDTACK_KILLS=100 asks for a hundred of each kind.
#![cfg(unix)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::blobs::babbling;
use crate::program::{hardtack, names, run, run_with_input};
use hardtack_testing::checkpoint::Checkpoint;

/// What a chat says after each answer here.
const ANSWERED: &str = "[4 tokens, the most";

fn rounds() -> usize {
    std::env::var("HARDTACK_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(6)
}

/// Moments from 0 to 1, evenly spread without a pattern (multiples of the golden ratio).
fn moments(count: usize) -> impl Iterator<Item = f64> {
    (1..=count).map(|round| (round as f64 * 0.618_033_988_749_895).fract())
}

/// Starts a program and kills it after this time, unless it has ended by then.
fn kill_after(mut command: Command, time: Duration) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_bake() {
    let checkpoint = Checkpoint::made();
    checkpoint.save().save_tokenizer();
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("model.tack");
    let bake = || hardtack(&[&"bake", &checkpoint.path(), &"-o", &blob, &"--bits", &"8"]);
    let start = Instant::now();
    assert!(bake().output().unwrap().status.success());
    let whole = start.elapsed();
    let expected = fs::read(&blob).unwrap();
    for (round, moment) in moments(rounds()).enumerate() {
        // By turns over a blob that is there and in an empty folder.
        let replaces = round % 2 == 0;
        if !replaces {
            fs::remove_file(&blob).unwrap();
        }
        kill_after(bake(), whole.mul_f64(moment));
        // The old one, the new one, or none; never a part.
        let found = fs::read(&blob).ok();
        assert!(found.as_ref().map_or(!replaces, |found| *found == expected), "round {round}");
        // The next bake removes what was left.
        assert!(bake().output().unwrap().status.success());
        assert_eq!(names(scratch.path()), ["model.tack"], "round {round}");
        assert!(fs::read(&blob).unwrap() == expected, "round {round}");
    }
}

/// Talks from a pipe until the program is killed, `patience` after the answer to message `first`,
/// or without a pause where all messages come at once. The number of messages that were answered.
fn killed_chat(session: &Path, count: usize, patience: Duration) -> usize {
    let mut command = hardtack(&[&"chat", &babbling(), &"-n", &"4", &"--session", &session]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines: String = (1..=count).map(|number| format!("message {number}.\n")).collect();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        // The reader may be killed before it has read all of it.
        let _ = input.write_all(lines.as_bytes());
        input
    });
    let err = BufReader::new(child.stderr.take().unwrap());
    let reader = std::thread::spawn(move || {
        let answered = |line: &std::io::Result<String>| {
            line.as_ref().is_ok_and(|line| line.starts_with(ANSWERED))
        };
        err.lines().filter(answered).count()
    });
    std::thread::sleep(patience);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(writer.join().unwrap());
    reader.join().unwrap()
}

#[test]
fn a_killed_chat() {
    let scratch = tempfile::tempdir().unwrap();
    let session = scratch.path().join("talk.session");
    // Until the first answer, and for some more.
    let start = Instant::now();
    run_with_input(&[&"chat", &babbling(), &"-n", &"4"], "hello\n").succeeded();
    let first = start.elapsed();
    let (mut lost, mut kept) = (0, 0);
    for (round, moment) in moments(rounds()).enumerate() {
        let _ = fs::remove_file(&session);
        let answered = killed_chat(&session, 200, first.mul_f64(0.5 + 2.0 * moment));
        // Only what was in flight may be missing: everything that was answered is in the next
        // prompt.
        let again = run_with_input(
            &[&"chat", &babbling(), &"-n", &"4", &"--session", &session, &"--show-prompt"],
            "and now?\n",
        )
        .succeeded();
        if answered > 0 {
            assert!(
                again.err.contains(&format!("user\nmessage {answered}.<|im_end|>")),
                "round {round}: {again:#?}"
            );
            kept += 1;
        } else {
            lost += 1;
        }
        assert_eq!(names(scratch.path()), ["talk.session"], "round {round}");
    }
    assert!(kept > 0, "every one of {lost} was killed before its first answer");
}

#[test]
fn a_killed_report() {
    let scratch = tempfile::tempdir().unwrap();
    let drawing = scratch.path().join("bits.svg");
    let draw = || hardtack(&[&"inspect", &babbling(), &"--plot", &drawing]);
    let start = Instant::now();
    assert!(draw().output().unwrap().status.success());
    let whole = start.elapsed();
    let expected = fs::read(&drawing).unwrap();
    for (round, moment) in moments(rounds()).enumerate() {
        kill_after(draw(), whole.mul_f64(moment));
        assert!(fs::read(&drawing).unwrap() == expected, "round {round}");
        assert!(draw().output().unwrap().status.success());
        assert_eq!(names(scratch.path()), ["bits.svg"], "round {round}");
    }
    // A whole file of somebody else's making is no leftover.
    File::create(scratch.path().join(".bits.svg.mine")).unwrap();
    run(&[&"inspect", &babbling(), &"--plot", &drawing]).succeeded();
    assert_eq!(names(scratch.path()), [".bits.svg.mine", "bits.svg"]);
}
