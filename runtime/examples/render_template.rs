//! Renders chat templates for `runtime/parity/compare.py`: a JSON object a line in, one a line out.
//!
//! In: `template`, `messages`, and optionally `tools`, `documents`, `variables`,
//! `add_generation_prompt`, `bos_token`, `eos_token`. Out: `text` and the `authors` of its spans,
//! or `error`. The clock is fixed at 2026-01-02 03:04:05.

use std::io::{BufRead, Write};

use hardtack::text::{ChatTemplate, Clock, Json, Message, RenderInput};

fn main() -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = match render(&line?) {
            Ok((text, authors)) => serde_json::json!({ "text": text, "authors": authors }),
            Err(error) => serde_json::json!({ "error": error }),
        };
        writeln!(output, "{answer}")?;
    }
    Ok(())
}

fn render(line: &str) -> Result<(String, Vec<String>), String> {
    let case: Json = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let text = |name: &str| case.get(name).and_then(Json::as_str).unwrap_or_default();
    let list = |name: &str| case.get(name).and_then(Json::as_array).map(Vec::as_slice);
    let messages = list("messages").unwrap_or_default().iter().cloned().map(Message::from_json);
    let messages = messages.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let clock = Clock::date(2026, 1, 2).and_then(|day| day.at(3, 4, 5)).ok_or("no such time")?;
    let mut input = RenderInput::new(&messages).clock(clock);
    input = input.generation_prompt(case.get("add_generation_prompt") != Some(&Json::Bool(false)));
    if let Some(tools) = list("tools") {
        input = input.tools(tools);
    }
    if let Some(documents) = list("documents") {
        input = input.documents(documents);
    }
    if let Some(variables) = case.get("variables").and_then(Json::as_object) {
        input = input.variables(variables);
    }
    let template = ChatTemplate::new(text("template"), text("bos_token"), text("eos_token"));
    let rendered =
        template.and_then(|template| template.render(&input)).map_err(|error| error.to_string())?;
    let authors = rendered.spans().map(|span| format!("{:?}", span.author)).collect();
    Ok((rendered.text().to_owned(), authors))
}
