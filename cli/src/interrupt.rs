//! Requests to end: Ctrl-C, SIGTERM and SIGHUP as a flag that long work looks at, so that it ends
//! in order.
//!
//! | when | the first request | the second |
//! |---|---|---|
//! | a model is being loaded | the program ends at once: nothing is on its way to a file | |
//! | work goes on | the flag: work ends in order, and says what it has | ends at once |
//! | a line is waited for | whoever waits is woken, and ends in order | ends at once |
//!
//! Files are written under temporary names, so that an end at once loses none. A signal that was
//! ignored when the program started stays ignored. The exit code is 128 and the signal's number:
//! 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::terminal;

/// Ctrl-C; the number is the same wherever there are signals.
const INTERRUPT: i32 = 2;

/// Signals that come closer together are one request: `timeout` sends its own to the program and
/// then to its group.
const ONE_REQUEST: Duration = Duration::from_millis(500);

static REQUESTED: AtomicBool = AtomicBool::new(false);
static STATE: Mutex<State> = Mutex::new(State { signal: None, last: None, loading: 0, wake: None });

struct State {
    /// What was asked for and not answered yet.
    signal: Option<i32>,
    last: Option<Instant>,
    /// Models that are being loaded.
    loading: usize,
    /// Who waits for a line.
    wake: Option<Box<dyn Fn() + Send>>,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on requests to end set the flag; a second one, before the first was answered, ends the
/// program at once.
///
/// # Errors
/// The system refuses to say when signals come.
pub fn catch() -> anyhow::Result<()> {
    watch().context("cannot watch for Ctrl-C")
}

/// Signals that end other programs in the middle of a write become errors of that write, and a bus
/// error says its cause.
pub fn prepare() {
    #[cfg(unix)]
    {
        use std::sync::Arc;
        // With a handler, a write beyond the limit of a file's size returns an error. Whether it
        // was called matters to nobody.
        let _ = signal_hook::flag::register(libc::SIGXFSZ, Arc::new(AtomicBool::new(false)));
        crate::os::explain_bus_errors();
    }
}

#[cfg(unix)]
fn watch() -> anyhow::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let heard =
        [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !crate::os::is_ignored(signal));
    let mut signals = signal_hook::iterator::Signals::new(heard)?;
    std::thread::Builder::new().name("signals".to_owned()).stack_size(256 << 10).spawn(
        move || {
            for signal in signals.forever() {
                request(signal);
            }
        },
    )?;
    Ok(())
}

#[cfg(not(unix))]
fn watch() -> anyhow::Result<()> {
    Ok(ctrlc::set_handler(|| request(INTERRUPT))?)
}

/// A signal has come. This is a thread of its own and not a handler, so it may lock and allocate.
fn request(signal: i32) {
    let mut state = state();
    let same = state.last.is_some_and(|last| last.elapsed() < ONE_REQUEST);
    if !same {
        state.last = Some(Instant::now());
    }
    let again = state.signal.is_some();
    // A request to end the program outranks Ctrl-C, which may mean an answer only.
    if state.signal.is_none_or(|before| before == INTERRUPT) {
        state.signal = Some(signal);
    }
    if state.loading > 0 || (again && !same) {
        let signal = state.signal.unwrap_or(signal);
        drop(state);
        end(signal);
    }
    REQUESTED.store(true, Ordering::SeqCst);
    if let Some(wake) = &state.wake {
        wake();
    }
}

/// Ends the program at once.
fn end(signal: i32) -> ! {
    terminal::restore();
    process::exit(128 + signal)
}

/// While this lives, a model is being loaded: a request to end is answered at once.
pub struct Loading(());

impl Loading {
    /// Loading begins, unless the end was asked for already.
    pub fn begin() -> Self {
        let mut state = state();
        if let Some(signal) = state.signal {
            drop(state);
            end(signal);
        }
        state.loading += 1;
        Self(())
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        state().loading -= 1;
    }
}

/// Sends `event` whenever the flag is set, so that a thread that waits for something else learns of
/// it.
pub fn wake<T: Clone + Send + 'static>(sender: Sender<T>, event: T) {
    state().wake = Some(Box::new(move || drop(sender.send(event.clone()))));
}

/// The flag itself.
pub fn flag() -> &'static AtomicBool {
    &REQUESTED
}

/// Whether an end was asked for.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// A Ctrl-C has been answered, by the end of an answer: the next one counts anew. Other requests
/// stay.
pub fn take() {
    let mut state = state();
    if state.signal == Some(INTERRUPT) {
        state.signal = None;
        REQUESTED.store(false, Ordering::SeqCst);
    }
}

/// The exit code of an end that was asked for, as shells number it.
pub fn exit_code() -> Option<u8> {
    let signal = state().signal?;
    u8::try_from(128 + signal).ok()
}
