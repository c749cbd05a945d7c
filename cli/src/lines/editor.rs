//! Messages from a terminal: a line editor with history.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use rustyline::config::{Behavior, Config};
use rustyline::error::ReadlineError;
use rustyline::{
    Cmd, ConditionalEventHandler, DefaultEditor, Event, EventContext, EventHandler, KeyCode,
    KeyEvent, Modifiers, Movement, RepeatCount,
};

use super::message::{Next, ends_open, in_block, unfenced};
use crate::output::warn;
use crate::terminal;

/// Reads a message for each request.
pub fn read(prompt: &str, requests: &Receiver<()>, events: &Sender<Next>) -> anyhow::Result<()> {
    // Where answers go to a file, the editor writes to the terminal itself.
    let behavior = if io::stdout().is_terminal() { Behavior::Stdio } else { Behavior::PreferTerm };
    let mut editor = DefaultEditor::with_config(Config::builder().behavior(behavior).build())?;
    let conditional =
        |handler: Box<dyn ConditionalEventHandler>| EventHandler::Conditional(handler);
    let broken = Arc::new(AtomicBool::new(false));
    editor.bind_sequence(KeyEvent::ctrl('C'), conditional(Box::new(ClearOrLeave)));
    for key in [KeyEvent(KeyCode::Enter, Modifiers::NONE), KeyEvent::ctrl('M'), KeyEvent::ctrl('J')]
    {
        editor.bind_sequence(key, conditional(Box::new(SendOrBreak { broken: broken.clone() })));
        let KeyEvent(code, modifiers) = key;
        editor.bind_sequence(KeyEvent(code, modifiers | Modifiers::ALT), Cmd::Newline);
    }
    for () in requests {
        let next = loop {
            terminal::edit();
            broken.store(false, Ordering::Relaxed);
            let line = editor.readline(prompt);
            terminal::edited();
            break match line {
                Ok(text) => {
                    // The editor keeps lines for the up key only; a failure there matters to
                    // nobody.
                    let _ = editor.add_history_entry(text.as_str());
                    let text = unfenced(&text);
                    // What was pasted keeps its backslashes.
                    let typed = broken.load(Ordering::Relaxed);
                    Next::Message(if typed { text.replace("\\\n", "\n") } else { text.to_owned() })
                }
                Err(ReadlineError::Interrupted) => Next::Interrupted,
                // A terminal that has gone answers with an input/output error.
                Err(ReadlineError::Eof | ReadlineError::Errno(_)) => Next::End,
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    warn(format_args!("[that was no UTF-8; the line was dropped]"));
                    continue;
                }
                Err(ReadlineError::Io(_)) => Next::End,
                Err(error) => return Err(error.into()),
            };
        };
        if events.send(next).is_err() {
            break;
        }
    }
    Ok(())
}

/// Ctrl-C: clears what is typed; on an empty line it asks to leave.
struct ClearOrLeave;

impl ConditionalEventHandler for ClearOrLeave {
    fn handle(
        &self,
        _: &Event,
        _: RepeatCount,
        _: bool,
        context: &EventContext<'_>,
    ) -> Option<Cmd> {
        let typed = !context.line().is_empty();
        Some(if typed { Cmd::Kill(Movement::WholeBuffer) } else { Cmd::Interrupt })
    }
}

/// Enter: sends the message; inside a block, or after a backslash at its end, it breaks the line.
struct SendOrBreak {
    /// Whether a line was broken after a backslash, which is no part of the message then.
    broken: Arc<AtomicBool>,
}

impl ConditionalEventHandler for SendOrBreak {
    fn handle(
        &self,
        _: &Event,
        _: RepeatCount,
        _: bool,
        context: &EventContext<'_>,
    ) -> Option<Cmd> {
        let text = context.line();
        if in_block(text) {
            return Some(Cmd::Newline);
        }
        let breaks = context.pos() == text.len() && ends_open(text);
        if breaks {
            self.broken.store(true, Ordering::Relaxed);
        }
        Some(if breaks { Cmd::Newline } else { Cmd::AcceptLine })
    }
}
