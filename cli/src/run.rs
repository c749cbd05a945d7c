//! `hardtack run`: continues a text, or answers a message.

use anyhow::ensure;
use hardtack::text::Opening;
use hardtack::{ChatOptions, Delta, Ended, Engine, Report, WriteOptions, Writer};
use serde::Serialize;

use crate::args::RunArguments;
use crate::chat::Thoughts;
use crate::output::{note, show, show_json};
use crate::{input, interrupt, model};

/// Bytes of a prompt that every plan has room for.
const PROMPT_PLANNED: u64 = 64 << 10;
/// Bytes for each byte beyond: the text, once more where it is shown, and a token of four bytes in
/// a list that doubles.
const PROMPT_FACTOR: u64 = 10;

/// An answer for programs.
#[derive(Serialize)]
struct JsonReport<'a> {
    blob: String,
    prompt: &'a str,
    text: String,
    /// What the model thought before it answered.
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    /// `end`: the model's own or a stop text; `length`: `--max-tokens`; `context`: it is full;
    /// `interrupted`.
    ended: &'static str,
    prompt_tokens: usize,
    tokens: usize,
    first_token_seconds: f64,
    /// Of the tokens after the first; null where there are none.
    tokens_per_second: Option<f64>,
    /// Of a sampled text; null for the likeliest one.
    seed: Option<u64>,
}

/// An answer, as much of it as is not on the terminal already.
#[derive(Default)]
struct Collected {
    text: String,
    thinking: String,
}

/// Continues the text that the flags give.
pub fn run(arguments: &RunArguments) -> anyhow::Result<()> {
    interrupt::catch()?;
    let loading = interrupt::Loading::begin();
    let plain = arguments.template.is_empty();
    ensure!(
        arguments.chat || plain,
        "--template-var and --tools are for a chat template: add --chat"
    );
    // Before anything is loaded for it.
    let prompt = input::prompt(arguments)?;
    let session = model::session_options(&arguments.session);
    let engine = model::open(&arguments.blob, &arguments.engine, &session)?;
    let long = (prompt.len() as u64).saturating_sub(PROMPT_PLANNED);
    model::ensure_room(
        &engine,
        &session,
        &arguments.engine,
        PROMPT_FACTOR * long,
        "the prompt and its tokens",
    )?;
    model::tokenizer(&engine)?;
    drop(loading);
    let (sampling, seed) = arguments.sampling.settle();
    let options = model::write_options(session, &sampling);
    let mut collected = Collected::default();
    let report = if arguments.chat {
        answer(&engine, arguments, &prompt, options, &mut collected)?
    } else {
        text(&engine, arguments, &prompt, &options, &mut collected)?
    };
    if arguments.json {
        return Ok(show_json(&JsonReport {
            blob: arguments.blob.display().to_string(),
            prompt: &prompt,
            text: collected.text,
            thinking: collected.thinking,
            ended: match report.ended {
                Ended::Length => "length",
                Ended::ContextFull => "context",
                Ended::Cancelled => "interrupted",
                _ => "end",
            },
            prompt_tokens: report.prompt,
            tokens: report.new,
            first_token_seconds: report.first_token.as_secs_f64(),
            tokens_per_second: rate(&report),
            seed,
        })?);
    }
    show("\n")?;
    let ended = match report.ended {
        Ended::ContextFull => ", the context is full",
        Ended::Cancelled => ", interrupted",
        _ => "",
    };
    let speed = rate(&report).map_or(String::new(), |rate| format!(" at {rate:.1} a second"));
    let seed = seed.map_or(String::new(), |seed| format!("; seed {seed}"));
    note(format_args!(
        "[{}; {} prompt tokens, first token after {:.0} ms; {} new token{}{speed}{ended}{seed}]",
        model::describe(&engine),
        report.prompt,
        report.first_token.as_secs_f64() * 1e3,
        report.new,
        if report.new == 1 { "" } else { "s" },
    ));
    Ok(())
}

/// Tokens a second after the first one. One token has no rate.
fn rate(report: &Report) -> Option<f64> {
    let (after, seconds) = (report.new.saturating_sub(1), report.rest.as_secs_f64());
    (after > 0 && seconds > 0.0).then(|| after as f64 / seconds)
}

/// The answer to a message.
fn answer(
    engine: &Engine,
    arguments: &RunArguments,
    prompt: &str,
    options: WriteOptions,
    collected: &mut Collected,
) -> anyhow::Result<Report> {
    let mut options = arguments.template.apply(ChatOptions::new().write(options))?;
    options.system.clone_from(&arguments.system);
    let mut chat = engine.chat(options)?;
    let mut answer = chat.ask(prompt)?;
    let mut thoughts = Thoughts::new(arguments.show_thinking);
    for delta in &mut answer {
        match delta? {
            Delta::Text(text) if arguments.json => collected.text.push_str(&text),
            Delta::Thinking(text) if arguments.json => collected.thinking.push_str(&text),
            Delta::Text(text) => {
                thoughts.end();
                show(&text)?;
            }
            Delta::Thinking(text) => thoughts.show(&text),
            _ => {}
        }
    }
    thoughts.end();
    Ok(answer.report())
}

/// The continuation of a text.
fn text(
    engine: &Engine,
    arguments: &RunArguments,
    prompt: &str,
    options: &WriteOptions,
    collected: &mut Collected,
) -> anyhow::Result<Report> {
    let tokens = engine.tokenizer()?.prompt(prompt)?;
    ensure!(
        !tokens.is_empty(),
        "the prompt is empty, and this model has no token to begin a text with"
    );
    let mut writer = Writer::new(engine, options)?;
    let (found, room) = (tokens.len(), writer.session().capacity());
    // Before the prompt is shown, not after.
    ensure!(found <= room, "the prompt has {found} tokens, {room} fit the context");
    let mut text = writer.write(&tokens, Opening::Continuation)?;
    if !arguments.json {
        show(prompt)?;
    }
    for piece in &mut text {
        let piece = piece?;
        if arguments.json {
            collected.text.push_str(&piece);
        } else {
            show(&piece)?;
        }
    }
    Ok(text.report())
}
