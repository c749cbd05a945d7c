//! One message and its answer.

use hardtack::{Chat, Delta, Ended};

use crate::args::ChatArguments;
use crate::interrupt;
use crate::output::{aside, note, one_line, show, warn};

/// Sends a message and shows its answer. A message that cannot be sent changes nothing: false.
///
/// # Errors
/// The model fails, or nobody can be shown the answer.
pub fn turn(chat: &mut Chat, arguments: &ChatArguments, text: &str) -> anyhow::Result<bool> {
    let mut answer = match chat.ask(text) {
        Ok(answer) => answer,
        Err(error) => {
            warn(format_args!("[{}; the message was not sent]", one_line(&error.into())));
            return Ok(false);
        }
    };
    if arguments.show_prompt {
        note(format_args!("[prompt]\n{}[end of prompt]", answer.prompt()));
    }
    let forgotten = answer.report().forgotten;
    if forgotten > 0 {
        note(format_args!("[the context is full: the oldest {forgotten} exchanges are forgotten]"));
    }
    let mut thoughts = Thoughts::new(arguments.show_thinking);
    for delta in &mut answer {
        match delta? {
            Delta::Text(text) => {
                thoughts.end();
                show(&text)?;
            }
            Delta::Thinking(text) => thoughts.show(&text),
            _ => {}
        }
    }
    thoughts.end();
    let report = answer.report();
    show("\n")?;
    if arguments.show_prompt {
        note(format_args!(
            "[{} prompt tokens, {} of them kept from before]",
            report.prompt, report.reused
        ));
    }
    match report.ended {
        Ended::Cancelled if !report.kept => {
            note(format_args!("[interrupted; the message was not sent]"))
        }
        Ended::Cancelled => note(format_args!("[interrupted]")),
        Ended::Length => {
            note(format_args!("[{} tokens, the most that --max-tokens allows]", report.new))
        }
        Ended::ContextFull => note(format_args!("[the context is full]")),
        _ => {}
    }
    interrupt::take();
    Ok(true)
}

/// What a model thinks, beside its answer: shown dim on standard error, or as a word that it
/// thinks.
pub struct Thoughts {
    shown: bool,
    begun: bool,
    /// Whether a line of them is not ended yet.
    open: bool,
}

impl Thoughts {
    /// Shown, or only mentioned.
    pub fn new(shown: bool) -> Self {
        Self { shown, begun: false, open: false }
    }

    /// More of them.
    pub fn show(&mut self, text: &str) {
        if self.shown {
            aside(text);
            self.open = !text.ends_with('\n');
        } else if !self.begun {
            note(format_args!("[thinking...]"));
        }
        self.begun = true;
    }

    /// The answer begins, or ends.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            aside("\n");
        }
    }
}
