//! Sets up Hugging Face's template environment and runs a template in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, context, machinery};

use crate::text::TemplateError;
use crate::text::template::budget::Budget;
use crate::text::template::{ChatTemplate, Message, RenderLimits, library, operators, rewrite};

/// Macros and loops within each other; a macro's call counts several.
const DEPTH_MAX: usize = 120;
/// The memory that values may take, over and above the text itself, for each byte of text.
const VALUE_BYTES_PER_OUTPUT_BYTE: usize = 32;

pub(super) fn render(
    template: &ChatTemplate,
    messages: &[Message<'_>],
    add_generation_prompt: bool,
    limits: &RenderLimits,
) -> Result<String, TemplateError> {
    let messages_bytes: usize = messages.iter().map(|message| message.role.len() + message.content.len()).sum();
    if messages_bytes > limits.output_bytes {
        return Err(TemplateError::Output(limits.output_bytes));
    }
    let budget = Arc::new(Budget::new(limits.output_bytes, VALUE_BYTES_PER_OUTPUT_BYTE));
    let environment = environment(template, limits, &budget);
    let instructions = rewrite::guarded(&template.source)?;
    let blocks = BTreeMap::new();
    let mut text = String::new();
    let mut output = machinery::make_string_output(&mut text);
    let root = context(template, messages, add_generation_prompt);
    let done = machinery::eval(&environment, &instructions, root, &blocks, &mut output, AutoEscape::None);
    let failed = done.err();
    match failed {
        None if text.len() <= limits.output_bytes => Ok(text),
        None => Err(TemplateError::Output(limits.output_bytes)),
        Some(error) => Err(explain(&error, &budget, limits)),
    }
}

fn environment<'a>(template: &ChatTemplate, limits: &RenderLimits, budget: &Arc<Budget>) -> Environment<'a> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(limits.steps));
    environment.set_recursion_limit(DEPTH_MAX);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    operators::install(&mut environment, budget);
    library::install(&mut environment, budget);
    if let Some(date) = template.date.clone() {
        environment.add_function("strftime_now", move |_format: Value| date.clone());
    }
    environment
}

fn context(template: &ChatTemplate, messages: &[Message<'_>], add_generation_prompt: bool) -> Value {
    let message = |message: &Message<'_>| context! { role => message.role, content => message.content };
    context! {
        messages => messages.iter().map(message).collect::<Vec<Value>>(),
        add_generation_prompt => add_generation_prompt,
        bos_token => template.begin.as_str(),
        eos_token => template.end.as_str(),
    }
}

fn explain(error: &minijinja::Error, budget: &Budget, limits: &RenderLimits) -> TemplateError {
    if let Some(reason) = budget.refusal() {
        return TemplateError::Refused(reason);
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
