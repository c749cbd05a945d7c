//! How much memory a program takes at its peak, as the system counts it.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a program took, and how it ended.
#[derive(Debug)]
pub struct Run {
    /// Its largest resident set, in bytes.
    pub peak: u64,
    pub code: Option<i32>,
    pub err: String,
}

/// Runs a program to its end with this on its standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Run {
    let (stdin, err) =
        (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    stdin.as_file().write_all(input).unwrap();
    command.stdin(stdin.reopen().unwrap()).stdout(Stdio::null()).stderr(err.reopen().unwrap());
    let program = fs::canonicalize(command.get_program()).unwrap();
    let mut child = command.spawn().unwrap();
    let process = format!("/proc/{}", child.id());
    let mut peak = 0;
    loop {
        // Before it is the program, a child has its parent's high-water mark; then its own, which
        // only grows, so that the last reading before its end is nearly the peak.
        if fs::read_link(format!("{process}/exe")).is_ok_and(|exe| exe == program) {
            peak = high_water_mark(&process).unwrap_or(peak);
        }
        if let Some(status) = child.try_wait().unwrap() {
            let err = String::from_utf8_lossy(&fs::read(err.path()).unwrap()).into_owned();
            return Run { peak, code: status.code(), err };
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn high_water_mark(process: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}
