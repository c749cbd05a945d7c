//! Keeps a panic of other people's code from ending the program.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs code that may panic on a stranger's file, and returns the panic's message instead.
///
/// Such a panic prints nothing: the hook stays silent on this thread while `run` runs, and is the
/// program's own everywhere else. A build with `panic = "abort"` ends at the panic all the same.
pub(crate) fn contain<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let programs = take_hook();
        set_hook(Box::new(move |panic| {
            if !CONTAINED.try_with(Cell::get).unwrap_or(false) {
                programs(panic);
            }
        }));
    });
    let outer = CONTAINED.replace(true);
    // What `run` borrowed is dropped by the callers or only ever read.
    let result = catch_unwind(AssertUnwindSafe(run));
    CONTAINED.set(outer);
    result.map_err(|panic| message(panic.as_ref()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::contain;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(contain(|| 1), Ok(1));
        assert_eq!(contain(|| -> u8 { panic!("said {}", 2) }), Err("said 2".into()));
        assert_eq!(contain(|| contain(|| -> u8 { panic!("inner") })), Ok(Err("inner".into())));
        assert_eq!(contain(|| [1, 2][..][std::hint::black_box(1)]), Ok(2));
    }
}
