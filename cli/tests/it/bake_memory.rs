//! The memory that a bake takes, as the system counts it, stays inside its plan, the plan keeps to
//! `--memory`, and a bake that is killed leaves nothing that the next one does not remove.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::program::{hardtack, names, run};
use hardtack_testing::{peak, synthetic};

/// A model whose tokenizer and embeddings are most of it, as those of small models are.
const LARGE_VOCABULARY: synthetic::Network =
    synthetic::Network { vocabulary: 24_000, hidden: 256, layers: 1, context: 256 };
/// One whose weights are.
const LARGE_LAYERS: synthetic::Network =
    synthetic::Network { vocabulary: 300, hidden: 1024, layers: 1, context: 256 };

fn checkpoint(network: synthetic::Network) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    synthetic::write(folder.path(), network);
    folder
}

/// The least memory that a bake says it needs.
fn needed(input: &Path, output: &Path) -> u64 {
    let refused = run(&[&"bake", &input, &"-o", &output, &"--memory", &"1"])
        .refused(&["bytes of memory", "would do"]);
    refused.numbers_before("bytes of memory")[0]
}

#[test]
fn a_bake_stays_within_the_least_memory_that_is_accepted() {
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("model.tack");
    let made: Vec<tempfile::TempDir> =
        [LARGE_VOCABULARY, LARGE_LAYERS].into_iter().map(checkpoint).collect();
    let inputs =
        made.iter().map(|folder| folder.path().to_owned()).chain(hardtack_testing::smollm2());
    for input in inputs {
        let least = needed(&input, &output);
        let under = (least - 1).to_string();
        run(&[&"bake", &input, &"-o", &output, &"--memory", &under]).refused(&["the limit is"]);
        run(&[&"bake", &input, &"-o", &output, &"--memory", &"none"]).succeeded();
        let whole = fs::read(&output).unwrap();
        let own = peak::run(
            &mut hardtack(&[&"bake", &input, &"-o", &output, &"--memory", &least.to_string()]),
            b"",
        );
        let planned =
            own.err.lines().find(|line| line.starts_with("[memory: at most")).map(str::to_owned);
        println!(
            "{}: peak {} KiB of {} KiB, {planned:?}",
            input.display(),
            own.peak >> 10,
            least >> 10
        );
        assert_eq!(own.code, Some(0), "{own:?}");
        assert!(planned.is_some(), "{own:?}");
        assert!(
            own.peak > 0 && own.peak <= least,
            "{}: {} bytes of {least}",
            input.display(),
            own.peak
        );
        // Pieces do not show in what is baked.
        assert!(fs::read(&output).unwrap() == whole, "{}: another blob", input.display());
    }
    assert_eq!(names(scratch.path()), ["model.tack"]);
}

/// A control group of n bytes, if this is a system where a test may make one.
struct Group(PathBuf);

impl Group {
    fn new(bytes: u64) -> Option<Self> {
        let folder =
            PathBuf::from(format!("/sys/fs/cgroup/memory/bake-memory-{}", std::process::id()));
        let made = fs::create_dir(&folder)
            .and_then(|()| fs::write(folder.join("memory.limit_in_bytes"), bytes.to_string()));
        match made {
            Ok(()) => Some(Self(folder)),
            Err(_) => {
                let _ = fs::remove_dir(&folder);
                hardtack_testing::skipped(
                    &folder,
                    "no control group of version 1 may be made: none is tried",
                );
                None
            }
        }
    }

    /// Runs the program inside it.
    fn run(&self, arguments: &[crate::program::Argument<'_>]) -> crate::program::Outcome {
        let enter = format!("echo $$ > {}/cgroup.procs; exec hardtack", self.0.display());
        crate::program::run_in_shell(&enter, arguments)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_control_group_is_kept_to() {
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("model.tack");
    let folder = checkpoint(LARGE_VOCABULARY);
    let input = folder.path();
    let least = needed(input, &output);
    // What the shell and the program take before they look is not theirs to plan, and a run plans
    // more than a bake.
    let Some(group) = Group::new(2 * least) else { return };
    group.run(&[&"bake", &input, &"-o", &output]).succeeded();
    group.run(&[&"run", &output, &"-p", &"ab", &"-n", &"4", &"--ctx", &"64"]).succeeded();
    drop(group);
    let Some(group) = Group::new(least / 2) else { return };
    let way_out = ["the control group", "--memory none"];
    group.run(&[&"bake", &input, &"-o", &scratch.path().join("other.tack")]).refused(&way_out);
    group
        .run(&[&"run", &output, &"-p", &"ab", &"--ctx", &"256", &"--load", &"resident"])
        .refused(&way_out);
    assert_eq!(names(scratch.path()), ["model.tack"]);
}

#[test]
fn what_a_killed_bake_leaves_the_next_one_removes() {
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("model.tack");
    let folder = checkpoint(LARGE_LAYERS);
    let input = folder.path();
    let is_partial = |name: &String| name.ends_with(".partial");
    let mut child = hardtack(&[&"bake", &input, &"-o", &output, &"--bits", &"4"]).spawn().unwrap();
    let start = Instant::now();
    while !names(scratch.path()).iter().any(is_partial) {
        assert!(
            child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(60),
            "no partial file"
        );
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(names(scratch.path()).iter().any(is_partial), "the bake was too quick for this test");
    run(&[&"bake", &input, &"-o", &output, &"--bits", &"4"]).succeeded();
    assert_eq!(names(scratch.path()), ["model.tack"]);
}

#[test]
fn a_file_that_may_not_be_so_long_is_refused_first() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = checkpoint(LARGE_LAYERS);
    let output = scratch.path().join("model.tack");
    let arguments: [crate::program::Argument<'_>; 4] = [&"bake", &folder.path(), &"-o", &output];
    // In blocks of 512 bytes.
    crate::program::run_in_shell("ulimit -f 100; exec hardtack", &arguments)
        .refused(&["the process may write no longer file than 51200 bytes"]);
    assert!(names(scratch.path()).is_empty());
}
