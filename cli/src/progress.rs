//! Progress of long work: a bar on a terminal; elsewhere, as in a log, a line now and then.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::interrupt;
use crate::output::{harmless, is_quiet, note};

/// Time between two lines.
const PAUSE: Duration = Duration::from_secs(30);

/// How far a piece of work is.
pub struct Bar {
    bar: ProgressBar,
    /// When the last line was written, where lines are.
    said: Option<Instant>,
    /// What the time left is left of, where it is not the whole work.
    of: &'static str,
}

impl Bar {
    /// A bar that looks like this template, in which `{prefix}` is what is being done, as lines
    /// begin with it.
    ///
    /// # Errors
    /// The template is none.
    pub fn new(template: &str, stage: &str) -> anyhow::Result<Self> {
        let style = ProgressStyle::with_template(template)?;
        let bar = if is_quiet() { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let bar = bar.with_style(style).with_prefix(stage.to_owned());
        let said = (!stderr().is_terminal()).then(Instant::now);
        Ok(Self { bar, said, of: "" })
    }

    /// Something else is done now: time left is estimated anew, and said to be of this stage.
    /// Nobody knows how long the next ones take: their rates have nothing to do with this one's.
    pub fn begin(&mut self, stage: String) {
        self.bar.reset_eta();
        self.bar.set_prefix(stage);
        self.bar.set_message("");
        self.of = " in this stage";
    }

    /// Says something beside the bar.
    pub fn message(&self, message: String) {
        self.bar.set_message(harmless(&message).into_owned());
    }

    /// So much of so much is done.
    pub fn set(&mut self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        if let Some(line) = self.line(Instant::now()) {
            note(format_args!("{line}"));
        }
    }

    /// The line that is due, if one is.
    fn line(&mut self, now: Instant) -> Option<String> {
        let said = self.said.as_mut()?;
        if now.duration_since(*said) < PAUSE {
            return None;
        }
        *said = now;
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let message = Some(self.bar.message()).filter(|own| !own.is_empty());
        let message = message.map_or(String::new(), |own| format!(", {own}"));
        let (stage, percent, left) =
            (self.bar.prefix(), done * 100 / total.max(1), HumanDuration(self.bar.eta()));
        Some(format!("{stage}: {percent} %, {left} left{}{message}", self.of))
    }

    /// Takes the bar off the terminal.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// Calls `measure(index)` for every index below `count` and shows what it returns beside the bar;
/// where it returns `None`, it was interrupted. Returns how many were measured.
///
/// # Errors
/// Those of `measure`.
pub fn for_each(
    count: usize,
    things: &str,
    mut measure: impl FnMut(usize) -> anyhow::Result<Option<String>>,
) -> anyhow::Result<usize> {
    let mut bar = Bar::new("{bar:30} {pos}/{len} {prefix} {eta} {msg}", things)?;
    let mut done = 0;
    bar.set(0, count as u64);
    while done < count && !interrupt::requested() {
        let Some(message) = measure(done)? else { break };
        done += 1;
        bar.message(message);
        bar.set(done as u64, count as u64);
    }
    bar.finish();
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_now_and_then_where_no_terminal_is() {
        let start = Instant::now();
        let mut bar = Bar { said: Some(start), ..Bar::new("{bar}", "windows").unwrap() };
        bar.message("perplexity 20.3".to_owned());
        bar.set(3, 12);
        assert_eq!(bar.line(start + PAUSE / 2), None);
        let line = bar.line(start + PAUSE).unwrap();
        assert!(
            line.starts_with("windows: 25 %, ") && line.ends_with(" left, perplexity 20.3"),
            "{line}"
        );
        assert_eq!(bar.line(start + PAUSE + PAUSE / 2), None);
        bar.begin("tuning routers".to_owned());
        let line = bar.line(start + 2 * PAUSE).unwrap();
        assert!(
            line.starts_with("tuning routers: 25 %, ") && line.ends_with(" left in this stage"),
            "{line}"
        );
        bar.said = None;
        assert_eq!(bar.line(start + 9 * PAUSE), None);
    }
}
