//! The functions, filters and methods of Hugging Face's template environment, with those replaced whose result can be
//! far longer than what they are given.

use std::sync::Arc;

use minijinja::value::{Kwargs, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

use crate::text::template::budget::Budget;
use crate::text::template::json;

/// Filters of the engine that no chat template needs and that fill memory from a number.
const REMOVED: [&str; 7] = ["batch", "slice", "format", "pprint", "groupby", "zip", "chain"];
/// Widest indentation.
const INDENT_MAX: usize = 64;

pub(super) fn install(environment: &mut Environment<'_>, budget: &Arc<Budget>) {
    for name in REMOVED {
        environment.remove_filter(name);
    }
    let shared = Arc::clone(budget);
    environment.add_function("raise_exception", move |reason: String| -> Result<Value, Error> {
        shared.refuse(reason.split_whitespace().collect::<Vec<_>>().join(" "));
        Err(Error::new(ErrorKind::InvalidOperation, "raised by the template"))
    });
    let shared = Arc::clone(budget);
    environment.add_filter("tojson", move |value: Value, options: Kwargs| {
        let indent: Option<usize> = options.get("indent")?;
        // `ensure_ascii`, `sort_keys` and `separators` are taken and change nothing: text stays as it is.
        json::write(&value, indent.map(|width| width.min(INDENT_MAX)), &shared)
    });
    let shared = Arc::clone(budget);
    environment.add_filter("string", move |value: Value| {
        let mut text = shared.text();
        text.push_value(&value)?;
        Ok::<_, Error>(text.into_value())
    });
    let shared = Arc::clone(budget);
    environment.add_filter("join", move |items: Value, separator: Option<String>, attribute: Option<String>| {
        join(&items, separator.as_deref().unwrap_or(""), attribute.as_deref(), &shared)
    });
    let shared = Arc::clone(budget);
    environment.add_filter("replace", move |text: String, old: String, new: String| {
        replace(&text, &old, &new, usize::MAX, &shared)
    });
    let shared = Arc::clone(budget);
    environment.add_filter("indent", move |text: String, width: Option<usize>, first: Option<bool>| {
        indent(&text, width.unwrap_or(4), first.unwrap_or(false), &shared)
    });
    let shared = Arc::clone(budget);
    environment.set_unknown_method_callback(move |state, value, method, arguments| {
        method_call(state, value, method, arguments, &shared)
    });
}

fn method_call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    arguments: &[Value],
    budget: &Budget,
) -> Result<Value, Error> {
    match (value.as_str(), method) {
        (Some(text), "replace") => {
            let (old, new, count): (&str, &str, Option<i64>) = from_args(arguments)?;
            let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
            replace(text, old, new, count, budget)
        }
        (Some(separator), "join") => {
            let (items,): (&Value,) = from_args(arguments)?;
            join(items, separator, None, budget)
        }
        // Widths in a format string make text of any length.
        (Some(_), "format") => Err(Error::new(ErrorKind::UnknownMethod, "str.format is not supported")),
        _ => pycompat::unknown_method_callback(state, value, method, arguments),
    }
}

fn join(items: &Value, separator: &str, attribute: Option<&str>, budget: &Budget) -> Result<Value, Error> {
    let mut text = budget.text();
    for (index, item) in items.try_iter()?.enumerate() {
        if index > 0 {
            text.push(separator)?;
        }
        match attribute {
            Some(name) => text.push_value(&item.get_attr(name)?)?,
            None => text.push_value(&item)?,
        }
    }
    Ok(text.into_value())
}

fn replace(text: &str, old: &str, new: &str, count: usize, budget: &Budget) -> Result<Value, Error> {
    let mut made = budget.text();
    let mut rest = 0;
    for (start, found) in text.match_indices(old).take(count) {
        made.push(&text[rest..start])?;
        made.push(new)?;
        rest = start + found.len();
    }
    made.push(&text[rest..])?;
    Ok(made.into_value())
}

fn indent(text: &str, width: usize, first: bool, budget: &Budget) -> Result<Value, Error> {
    let margin = " ".repeat(width.min(INDENT_MAX));
    let mut made = budget.text();
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            made.push("\n")?;
        }
        if !line.is_empty() && (index > 0 || first) {
            made.push(&margin)?;
        }
        made.push(line)?;
    }
    Ok(made.into_value())
}
