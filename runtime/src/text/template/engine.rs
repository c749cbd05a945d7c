//! Sets up Hugging Face's template environment and runs a template in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, machinery};

use crate::text::TemplateError;
use crate::text::template::budget::Budget;
use crate::text::template::input::shorten;
use crate::text::template::{
    Author, ChatTemplate, Clock, Json, Message, RenderInput, RenderLimits, Rendered, library, operators, rewrite,
};

/// Macros and loops within each other; a macro's call counts several.
const DEPTH_MAX: usize = 120;
/// The memory that values may take, over and above the text itself, for each byte of text.
const VALUE_BYTES_PER_OUTPUT_BYTE: usize = 32;

pub(super) fn render(template: &ChatTemplate, input: &RenderInput<'_>) -> Result<Rendered, TemplateError> {
    let limits = &input.limits;
    let bytes = |message: &Message| message.role().len() + message.content_text().map_or(0, str::len);
    let messages_bytes: usize = input.messages.iter().map(bytes).sum();
    if messages_bytes > limits.output_bytes {
        return Err(TemplateError::Output(limits.output_bytes));
    }
    let budget = Arc::new(Budget::new(limits.output_bytes, VALUE_BYTES_PER_OUTPUT_BYTE));
    let environment = environment(input, &budget);
    let instructions = rewrite::guarded(&template.source)?;
    let blocks = BTreeMap::new();
    let mut text = String::new();
    let mut output = machinery::make_string_output(&mut text);
    let root = context(template, input);
    let done = machinery::eval(&environment, &instructions, root, &blocks, &mut output, AutoEscape::None);
    let failed = done.err();
    match failed {
        None if text.len() <= limits.output_bytes => {
            let mut rendered = Rendered::default();
            rendered.push(&text, Author::Template);
            Ok(rendered)
        }
        None => Err(TemplateError::Output(limits.output_bytes)),
        Some(error) => Err(explain(&error, &budget, limits)),
    }
}

fn environment<'a>(input: &RenderInput<'_>, budget: &Arc<Budget>) -> Environment<'a> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(input.limits.steps));
    environment.set_recursion_limit(DEPTH_MAX);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    operators::install(&mut environment, budget);
    library::install(&mut environment, budget);
    let clock = input.clock;
    environment.add_function("strftime_now", move |format: String| clock.unwrap_or_else(Clock::local).format(&format));
    environment
}

fn context(template: &ChatTemplate, input: &RenderInput<'_>) -> Value {
    let messages: Vec<Value> = input.messages.iter().map(|message| object(message.fields())).collect();
    let list = |items: Option<&[Json]>| items.map_or_else(|| Value::from(()), list_of);
    let mut names = BTreeMap::new();
    names.insert("bos_token".to_owned(), Value::from(template.begin.as_str()));
    names.insert("eos_token".to_owned(), Value::from(template.end.as_str()));
    for (name, value) in input.variables.into_iter().flatten() {
        names.insert(name.clone(), json(value));
    }
    names.insert("messages".to_owned(), Value::from(messages));
    names.insert("tools".to_owned(), list(input.tools));
    names.insert("documents".to_owned(), list(input.documents));
    names.insert("add_generation_prompt".to_owned(), Value::from(input.add_generation_prompt));
    Value::from_iter(names)
}

fn object(fields: &serde_json::Map<String, Json>) -> Value {
    Value::from_iter(fields.iter().map(|(name, value)| (name.clone(), json(value))))
}

fn list_of(items: &[Json]) -> Value {
    Value::from(items.iter().map(json).collect::<Vec<_>>())
}

fn json(value: &Json) -> Value {
    match value {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::from(number),
            None => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => list_of(items),
        Json::Object(fields) => object(fields),
    }
}

fn explain(error: &minijinja::Error, budget: &Budget, limits: &RenderLimits) -> TemplateError {
    if let Some(reason) = budget.refusal() {
        return TemplateError::Refused(shorten(&reason));
    }
    if budget.is_spent() {
        return TemplateError::Output(limits.output_bytes);
    }
    match error.kind() {
        ErrorKind::OutOfFuel => TemplateError::Steps(limits.steps),
        _ => TemplateError::Render(one_line(error)),
    }
}

/// The engine's message on one line, without its name for the template.
pub(super) fn one_line(error: &minijinja::Error) -> String {
    let reason = error.detail().map_or_else(|| error.kind().to_string(), String::from);
    let mut line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > 300 {
        line = line.chars().take(300).collect::<String>() + "...";
    }
    match error.line() {
        Some(number) => format!("line {number}: {line}"),
        None => line,
    }
}
