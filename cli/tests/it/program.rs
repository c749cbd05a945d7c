//! The real program, run as a person would, and what it may say when it refuses.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Exit code of what went wrong in the world.
pub const FAILED: i32 = 1;
/// Exit code of a command line that cannot be read.
pub const USAGE: i32 = 2;
/// Exit code of what Ctrl-C ended.
pub const INTERRUPTED: i32 = 130;

/// A word of a command line: text or a path.
pub type Argument<'a> = &'a dyn AsRef<OsStr>;

/// What a finished run left.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Outcome {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Holds the run to its success.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Holds the run to a refusal: one line on standard error that has all these words, and nothing
    /// besides.
    #[track_caller]
    pub fn refused(self, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(FAILED), "{self:#?}");
        assert_eq!(self.out, "", "{self:#?}");
        let line =
            self.err.strip_suffix('\n').unwrap_or_else(|| panic!("no whole line: {self:#?}"));
        assert!(
            !line.contains(char::is_control) && line.starts_with("hardtack: "),
            "not one line: {self:#?}"
        );
        for word in words {
            assert!(line.contains(word), "no {word:?} in {line:?}");
            // A cause is not said twice.
            assert!(line.matches("os error").count() <= 1, "{line:?}");
        }
        self
    }

    /// The number before this word on standard error, as often as it is there.
    pub fn numbers_before(&self, word: &str) -> Vec<u64> {
        let places = self.err.match_indices(word).map(|(at, _)| self.err[..at].trim_end());
        let digits = places.map(|before| {
            &before[before.trim_end_matches(|letter: char| letter.is_ascii_digit()).len()..]
        });
        digits
            .map(|digits| {
                digits.parse().unwrap_or_else(|_| panic!("no number before {word:?}: {self:#?}"))
            })
            .collect()
    }
}

/// The program with these arguments, not started yet.
pub fn hardtack(arguments: &[Argument<'_>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hardtack"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[Argument<'_>]) -> Outcome {
    Outcome::of(hardtack(arguments).output().expect("the program starts"))
}

/// Runs the program to its end with this text on its standard input.
pub fn run_with_input(arguments: &[Argument<'_>], input: &str) -> Outcome {
    run_with_bytes(arguments, input.as_bytes())
}

/// Runs the program in a shell, where the word `hardtack` stands for it.
pub fn run_in_shell(script: &str, arguments: &[Argument<'_>]) -> Outcome {
    let script = script.replace("hardtack", "\"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_hardtack"))
        .args(arguments)
        .stdin(Stdio::null());
    Outcome::of(command.output().expect("a shell"))
}

/// Runs the program to its end with these bytes on its standard input.
pub fn run_with_bytes(arguments: &[Argument<'_>], input: &[u8]) -> Outcome {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), input).unwrap();
    Outcome::of(
        hardtack(arguments).stdin(file.reopen().unwrap()).output().expect("the program starts"),
    )
}

/// Ctrl-C.
pub fn interrupt(child: &Child) {
    signal(child, "INT");
}

/// Sends a signal, by its name without SIG.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(status.expect("the kill program").success());
}

/// Waits for a child for this long; whether it has ended.
pub fn ends_within(child: &mut Child, patience: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < patience {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Waits for a child whose pipes are done with.
pub fn wait(child: Child) -> Outcome {
    Outcome::of(child.wait_with_output().unwrap())
}

/// Names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

/// SmolLM2 baked at 4 bits by the program itself, once for a test program.
pub fn smollm2() -> Option<&'static Path> {
    static BLOB: OnceLock<Option<PathBuf>> = OnceLock::new();
    let bake = || {
        let checkpoint = hardtack_testing::smollm2()?;
        let blob = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smollm2-q4.tack");
        run(&[&"bake", &checkpoint, &"-o", &blob, &"--bits", &"4"]).succeeded();
        Some(blob)
    };
    BLOB.get_or_init(bake).as_deref()
}
