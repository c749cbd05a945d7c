//! `hardtack chat`: a conversation on the terminal, or from a pipe.

mod command;
mod turn;

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use hardtack::chat::Resumed;
use hardtack::{Chat, ChatOptions, KvSize};

use crate::args::ChatArguments;
use crate::lines::{Lines, Next};
use crate::output::{escaped, note, one_line, path, show, warn};
use crate::size::show_bytes;
use crate::{interrupt, model};
use command::{HELP, Line};
pub use turn::Thoughts;
use turn::turn;

/// A Ctrl-C that comes so soon after an answer was meant for it.
const MEANT_FOR_ANSWER: Duration = Duration::from_secs(1);

/// Talks until the person leaves.
pub fn chat(arguments: &ChatArguments) -> anyhow::Result<()> {
    interrupt::catch()?;
    let loading = interrupt::Loading::begin();
    let session = model::session_options(&arguments.cache);
    let engine = model::open(&arguments.blob, &arguments.engine, &session)?;
    model::tokenizer(&engine)?;
    let (sampling, sampled) = arguments.sampling.settle();
    let options = ChatOptions::new().write(model::write_options(session, &sampling));
    let mut options = arguments.template.apply(options)?;
    options.system.clone_from(&arguments.system);
    options.file.clone_from(&arguments.session);
    options.keep_seed = arguments.sampling.seed.is_none();
    let mut chat = engine.chat(options)?;
    drop(loading);
    let kept = match chat.session().kv() {
        KvSize::Ring(size) => {
            let bytes = show_bytes(chat.session().kv_bytes());
            format!("a ring of {bytes} over up to {} tokens", size.reach)
        }
        _ => format!("context {} tokens", chat.session().capacity()),
    };
    let seed = if sampled.is_some() { format!(", seed {}", chat.seed()) } else { String::new() };
    note(format_args!("[{}, {kept}{seed}; /help for help]", model::describe(&engine)));
    let file = arguments.session.as_deref().map(path);
    if let (Some(file), Some(resumed)) = (&file, chat.resumed()) {
        say_how_it_goes_on(file, resumed);
    }
    let talked = talk(&mut chat, arguments);
    let tokens = chat.session().position();
    let closed = chat.close();
    talked?;
    closed?;
    if let Some(file) = file {
        note(format_args!("[{file}: {tokens} tokens kept]"));
    }
    Ok(())
}

fn say_how_it_goes_on(file: &str, resumed: &Resumed) {
    match &resumed.reread {
        None => note(format_args!("[{file}: {} tokens reused]", resumed.tokens)),
        Some(why) => {
            note(format_args!("[{file}: {} turns will be read anew: {why}]", resumed.turns))
        }
    }
    if resumed.other_system {
        warn(format_args!(
            "[{file}: it has a system prompt of its own, which counts; --system is for new ones]"
        ));
    }
}

/// Talks until the person leaves, or the end of the program is asked for.
///
/// # Errors
/// The terminal or the pipe cannot be read, the model fails; or a message from a pipe was not sent,
/// which nobody was there to see.
fn talk(chat: &mut Chat, arguments: &ChatArguments) -> anyhow::Result<()> {
    let lines = Lines::open("> ", chat.message_bytes_max())?;
    let (mut unsent, mut answered) = (0, None::<Instant>);
    loop {
        let text = match lines.next()? {
            Next::Message(text) => text,
            Next::TooLong => {
                warn(format_args!(
                    "[the message has more bytes than fit the context; it was not sent]"
                ));
                unsent += 1;
                continue;
            }
            Next::Interrupted
                if answered.take().is_some_and(|end| end.elapsed() < MEANT_FOR_ANSWER) =>
            {
                continue;
            }
            Next::Interrupted | Next::End | Next::Stopped => break,
            Next::Failed(error) => bail!(error),
        };
        answered = None;
        match Line::of(&text) {
            Line::Empty => {}
            Line::Leave => break,
            Line::Help => show(HELP)?,
            Line::Reset => chat.reset(),
            Line::Save(file) => match chat.save(&file) {
                Ok(()) => note(format_args!("[{} has the conversation]", path(&file))),
                Err(error) => warn(format_args!("[{}]", one_line(&error.into()))),
            },
            Line::Unknown(told) => warn(format_args!("[{}]", escaped(&told))),
            Line::Message(text) => {
                unsent += usize::from(!turn(chat, arguments, text)?);
                answered = Some(Instant::now());
            }
        }
    }
    let were = if unsent == 1 { "message was" } else { "messages were" };
    ensure!(unsent == 0 || lines.are_typed(), "{unsent} {were} not sent");
    Ok(())
}
