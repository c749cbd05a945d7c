//! A request to stop, from another thread or from a signal's handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request to stop that long work looks at: between batches of a prompt, between the layers of a
/// batch where nothing is lost by it, and before each new token.
///
/// Clones share the request. [`Cancel::watching`] makes one of a flag that a signal's handler sets.
///
/// ```
/// let cancel = hardtack::Cancel::new();
/// let other = cancel.clone();
/// std::thread::spawn(move || other.cancel()).join().unwrap();
/// assert!(cancel.is_cancelled());
/// ```
#[derive(Clone, Debug)]
pub struct Cancel(Flag);

#[derive(Clone, Debug)]
enum Flag {
    Own(Arc<AtomicBool>),
    Static(&'static AtomicBool),
}

impl Cancel {
    /// Nobody has asked to stop yet.
    pub fn new() -> Self {
        Self(Flag::Own(Arc::default()))
    }

    /// Is cancelled while `flag` is true.
    pub const fn watching(flag: &'static AtomicBool) -> Self {
        Self(Flag::Static(flag))
    }

    /// Asks to stop.
    pub fn cancel(&self) {
        self.flag().store(true, Ordering::SeqCst);
    }

    /// Takes the request back, so that the next answer begins.
    pub fn reset(&self) {
        self.flag().store(false, Ordering::SeqCst);
    }

    /// Whether somebody asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.flag().load(Ordering::SeqCst)
    }

    fn flag(&self) -> &AtomicBool {
        match &self.0 {
            Flag::Own(flag) => flag,
            Flag::Static(flag) => flag,
        }
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}
