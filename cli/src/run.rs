//! `hardtack run`: continues a text.

use anyhow::ensure;
use hardtack::text::{Opening, Special};

use crate::args::RunArguments;
use crate::conversation::Conversation;
use crate::output::{note, show};
use crate::speak::{Speaker, Why};
use crate::{interrupt, model};

/// Continues the text that the flags give.
pub fn run(arguments: &RunArguments) -> anyhow::Result<()> {
    interrupt::catch()?;
    let options = model::session_options(&arguments.session);
    let engine = model::open(&arguments.blob, &arguments.engine, &options)?;
    let tokenizer = model::tokenizer(&engine)?;
    let (prompt, opening) = if arguments.chat {
        let mut conversation = Conversation::new(&engine, &tokenizer, None)?;
        conversation.say("user", &arguments.prompt);
        (conversation.prompt(&tokenizer)?.tokens, Opening::Text)
    } else {
        let mut tokens: Vec<u32> = tokenizer.begin().into_iter().collect();
        tokens.extend(tokenizer.encode(&arguments.prompt, Special::Plain)?);
        (tokens, Opening::Continuation)
    };
    ensure!(!prompt.is_empty(), "the prompt is empty, and this model has no token to begin a text with");
    let session = engine.session(&options)?;
    let mut speaker = Speaker::new(session, &tokenizer, &arguments.sampling, arguments.session.batch)?;
    // Before the prompt is shown, not after.
    speaker.check(&prompt)?;
    if !arguments.chat {
        show(&arguments.prompt)?;
    }
    let answer = speaker.answer(&prompt, opening, show)?;
    show("\n")?;
    let seconds = answer.rest.as_secs_f64();
    let speed = if seconds > 0.0 { answer.tokens.saturating_sub(1) as f64 / seconds } else { 0.0 };
    let ended = match answer.why {
        Why::ContextFull => ", the context is full",
        Why::Interrupted => ", interrupted",
        Why::Length | Why::Finished => "",
    };
    note(format_args!(
        "[{}; {} prompt tokens, first token after {:.0} ms; {} new tokens at {speed:.1} a second{ended}]",
        model::describe(&engine),
        prompt.len(),
        answer.first_token.as_secs_f64() * 1e3,
        answer.tokens,
    ));
    Ok(())
}
