//! The memory that a run takes, as the system counts it, stays inside what the plan says.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::program::smollm2;

/// Mebibytes that are more than enough for the model under test.
const LIMIT_MAX: u64 = 512;

/// The largest resident set of a program while it runs, in bytes, and whether it succeeded.
fn peak(command: &mut Command) -> (u64, bool) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        // The high-water mark only grows, so the last reading before the end is nearly the peak.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .and_then(|number| number.parse().ok());
        peak = peak.max(kibibytes.unwrap_or(0u64) * 1024);
        if let Some(status) = child.try_wait().unwrap() {
            return (peak, status.success());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_peak_is_within_the_limit_that_was_accepted() {
    let Some(blob) = smollm2() else { return };
    for load in ["mmap", "resident"] {
        for context in ["64", "2048"] {
            let run = |memory: u64, tokens: &str| {
                let mut command = Command::new(env!("CARGO_BIN_EXE_hardtack"));
                command.arg("run").arg(blob).args([
                    "-p",
                    "Once upon a time",
                    "-n",
                    tokens,
                    "--load",
                    load,
                    "--ctx",
                    context,
                ]);
                command.arg("--memory").arg(memory.to_string());
                command
            };
            // The smallest limit that is accepted, to a mebibyte.
            let (mut refused, mut accepted) = (0, LIMIT_MAX);
            while accepted - refused > 1 {
                let middle = (refused + accepted) / 2;
                let starts = run(middle << 20, "0").output().unwrap().status.success();
                if starts { accepted = middle } else { refused = middle }
            }
            let (peak, succeeded) = peak(&mut run(accepted << 20, "40"));
            assert!(accepted < LIMIT_MAX, "{load}, context {context}: every limit is refused");
            assert!(succeeded, "{load}, context {context}: {accepted} MiB");
            assert!(
                peak > 0 && peak <= accepted << 20,
                "{load}, context {context}: {peak} bytes, limit {accepted} MiB"
            );
        }
    }
}
