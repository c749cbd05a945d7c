//! Ctrl-C as a flag: long work looks at it and ends in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

static REQUESTED: AtomicBool = AtomicBool::new(false);
/// Signals that come closer together are one request: `timeout` sends its own to the program and then to the group it is in.
const ONE_REQUEST: Duration = Duration::from_millis(500);

/// From now on Ctrl-C (or a request to terminate) sets the flag; a second one, before the flag was looked at and cleared, ends the program at once.
pub fn catch() -> anyhow::Result<()> {
    let mut last: Option<Instant> = None;
    let handler = move || {
        let same = last.is_some_and(|last| last.elapsed() < ONE_REQUEST);
        if !same {
            last = Some(Instant::now());
        }
        if REQUESTED.swap(true, Ordering::SeqCst) && !same {
            std::process::exit(i32::from(crate::INTERRUPTED));
        }
    };
    ctrlc::set_handler(handler).context("cannot watch for Ctrl-C")
}

/// The flag itself.
pub fn flag() -> &'static AtomicBool {
    &REQUESTED
}

/// Whether Ctrl-C was pressed.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Whether Ctrl-C was pressed; the next one counts anew.
pub fn take() -> bool {
    REQUESTED.swap(false, Ordering::SeqCst)
}
