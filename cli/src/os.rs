//! What the standard library does not say about signals: whether one is ignored, and a last line
//! before a bus error ends the program. The only unsafe code of the program; everywhere else
//! `signal-hook` is enough.

use std::mem::MaybeUninit;
use std::ptr;

use libc::c_int;

/// Whether this signal was ignored when the program started, as `nohup` and a shell's background
/// jobs ask for.
pub fn is_ignored(signal: c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null second argument asks only; the third has room for the answer.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    if asked != 0 {
        return false;
    }
    // SAFETY: the call succeeded, so it has written the whole structure.
    let action = unsafe { action.assume_init() };
    action.sa_sigaction == libc::SIG_IGN
}

/// What a bus error means here: pages of a mapped file are gone.
const BUS_ERROR: &[u8] =
    b"hardtack: a mapped file was cut short or replaced in place while it was read; \
    `--load resident` reads the whole file first\n";

/// Says in one line why a bus error ends the program. The system's own end of it is a bare signal.
///
/// `signal-hook` cannot do this: its handlers call the one before, and the standard library's ends
/// the program.
pub fn explain_bus_errors() {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `sigaction` is a structure of integers and an address, for which zeros are a value.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = end_of_bus_error as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: the handler calls only what POSIX lists as safe in one, and it does not return.
    unsafe { libc::sigaction(libc::SIGBUS, action, ptr::null_mut()) };
}

extern "C" fn end_of_bus_error(signal: c_int) {
    // SAFETY: the buffer is a constant of this length; `write` and `_exit` are safe in a handler.
    unsafe {
        libc::write(libc::STDERR_FILENO, BUS_ERROR.as_ptr().cast(), BUS_ERROR.len());
        libc::_exit(128 + signal);
    }
}
