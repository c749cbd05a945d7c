//! The terminal's modes: line editing changes them, and an end in the middle of a line puts them
//! back.

#[cfg(unix)]
mod modes {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

    static BEFORE: OnceLock<Termios> = OnceLock::new();
    static EDITING: AtomicBool = AtomicBool::new(false);

    /// Line editing begins.
    pub fn edit() {
        if let Ok(modes) = tcgetattr(rustix::stdio::stdin()) {
            BEFORE.get_or_init(|| modes);
        }
        EDITING.store(true, Ordering::SeqCst);
    }

    /// Line editing has ended, and has put the modes back itself.
    pub fn edited() {
        EDITING.store(false, Ordering::SeqCst);
    }

    /// Puts the modes back if a line is being edited.
    pub fn restore() {
        if EDITING.swap(false, Ordering::SeqCst)
            && let Some(modes) = BEFORE.get()
        {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, modes);
            // Bracketed paste off, and the next program begins a line of its own.
            let _ = crate::output::show_raw("\x1b[?2004l\r\n");
        }
    }
}

#[cfg(not(unix))]
mod modes {
    /// Line editing begins.
    pub fn edit() {}

    /// Line editing has ended.
    pub fn edited() {}

    /// A console keeps no modes that would have to be put back.
    pub fn restore() {}
}

pub use modes::{edit, edited, restore};
