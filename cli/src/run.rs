//! `hardtack run`: continues a text.

use anyhow::ensure;
use hardtack::text::{Opening, Special};
use serde::Serialize;

use crate::args::RunArguments;
use crate::conversation::Conversation;
use crate::output::{note, show, show_json};
use crate::speak::{Answer, Speaker, Why};
use crate::{input, interrupt, model};

/// An answer for programs.
#[derive(Serialize)]
struct Report<'a> {
    blob: String,
    prompt: &'a str,
    text: &'a str,
    /// `end`: the model's own or a stop text; `length`: `--max-tokens`; `context`: it is full; `interrupted`.
    ended: &'static str,
    prompt_tokens: usize,
    tokens: usize,
    first_token_seconds: f64,
    /// Of the tokens after the first; absent where there are none.
    tokens_per_second: Option<f64>,
    /// Of a sampled text.
    seed: Option<u64>,
}

/// Continues the text that the flags give.
pub fn run(arguments: &RunArguments) -> anyhow::Result<()> {
    interrupt::catch()?;
    let loading = interrupt::Loading::begin();
    // Before anything is loaded for it.
    let text = input::prompt(arguments)?;
    let options = model::session_options(&arguments.session);
    let engine = model::open(&arguments.blob, &arguments.engine, &options)?;
    let tokenizer = model::tokenizer(&engine)?;
    let (prompt, opening) = if arguments.chat {
        let mut conversation = Conversation::new(&engine, &tokenizer, arguments.system.as_deref())?;
        conversation.say("user", &text);
        (conversation.prompt(&tokenizer)?.tokens, Opening::Text)
    } else {
        let mut tokens: Vec<u32> = tokenizer.begin().into_iter().collect();
        tokens.extend(tokenizer.encode(&text, Special::Plain)?);
        (tokens, Opening::Continuation)
    };
    ensure!(!prompt.is_empty(), "the prompt is empty, and this model has no token to begin a text with");
    let session = engine.session(&options)?;
    let (sampling, seed) = arguments.sampling.settle();
    let mut speaker = Speaker::new(session, &tokenizer, &sampling, arguments.session.batch)?;
    // Before the prompt is shown, not after.
    speaker.check(&prompt)?;
    drop(loading);
    if arguments.json {
        let answer = speaker.answer(&prompt, opening, |_| Ok(()))?;
        let report = Report {
            blob: arguments.blob.display().to_string(),
            prompt: &text,
            text: &answer.text,
            ended: match answer.why {
                Why::Finished => "end",
                Why::Length => "length",
                Why::ContextFull => "context",
                Why::Interrupted => "interrupted",
            },
            prompt_tokens: prompt.len(),
            tokens: answer.tokens,
            first_token_seconds: answer.first_token.as_secs_f64(),
            tokens_per_second: rate(&answer),
            seed,
        };
        return Ok(show_json(&report)?);
    }
    if !arguments.chat {
        show(&text)?;
    }
    let answer = speaker.answer(&prompt, opening, show)?;
    show("\n")?;
    let ended = match answer.why {
        Why::ContextFull => ", the context is full",
        Why::Interrupted => ", interrupted",
        Why::Length | Why::Finished => "",
    };
    let speed = rate(&answer).map_or(String::new(), |rate| format!(" at {rate:.1} a second"));
    let seed = seed.map_or(String::new(), |seed| format!("; seed {seed}"));
    note(format_args!(
        "[{}; {} prompt tokens, first token after {:.0} ms; {} new token{}{speed}{ended}{seed}]",
        model::describe(&engine),
        prompt.len(),
        answer.first_token.as_secs_f64() * 1e3,
        answer.tokens,
        if answer.tokens == 1 { "" } else { "s" },
    ));
    Ok(())
}

/// Tokens a second after the first one. One token has no rate.
fn rate(answer: &Answer) -> Option<f64> {
    let (after, seconds) = (answer.tokens.saturating_sub(1), answer.rest.as_secs_f64());
    (after > 0 && seconds > 0.0).then(|| after as f64 / seconds)
}
