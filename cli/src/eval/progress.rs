//! One thing measured after another, with the time that is left, until Ctrl-C.

use indicatif::{ProgressBar, ProgressStyle};

use crate::interrupt;

/// Calls `measure(index)` for every index below `count` and shows what it gives beside the bar; where it gives nothing, it
/// was interrupted. Gives how many were measured.
///
/// # Errors
/// Those of `measure`.
pub fn for_each(
    count: usize,
    things: &str,
    mut measure: impl FnMut(usize) -> anyhow::Result<Option<String>>,
) -> anyhow::Result<usize> {
    let style = format!("{{bar:30}} {{pos}}/{{len}} {things} {{eta}} {{msg}}");
    let bar = ProgressBar::new(count as u64).with_style(ProgressStyle::with_template(&style)?);
    let mut done = 0;
    while done < count && !interrupt::requested() {
        let Some(message) = measure(done)? else { break };
        bar.set_message(message);
        bar.inc(1);
        done += 1;
    }
    bar.finish_and_clear();
    Ok(done)
}
