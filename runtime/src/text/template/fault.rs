//! Why a rendering ends early, and memory that it holds until then.

use std::cell::Cell;
use std::fmt::Display;
use std::rc::Rc;

/// Why rendering ends early.
#[derive(Debug)]
pub(super) enum Cause {
    /// `raise_exception` said so.
    Raised(String),
    /// What Python would raise.
    Failed(String),
    /// Out of steps.
    Steps,
    /// Out of memory.
    Memory,
    /// Too much text.
    Output,
    /// Somebody wanted to stop.
    Interrupted,
}

/// An early end, in one word of memory.
pub(super) type Fault = Box<Cause>;
/// What came of something, or why rendering ends.
pub(super) type Outcome<T> = Result<T, Fault>;

/// A failure of the template, for `Err`.
pub(super) fn failed<T>(reason: impl Display) -> Outcome<T> {
    Err(Box::new(Cause::Failed(reason.to_string())))
}

/// Memory that is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    pub bytes: usize,
    pub total: Rc<Cell<usize>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.total.set(self.total.get().saturating_sub(self.bytes));
    }
}
