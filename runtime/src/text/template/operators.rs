//! The guarded operators that `rewrite.rs` puts in place of the engine's, and how values are printed.

use std::sync::Arc;

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};

use crate::text::template::budget::{Budget, is_namespace};

// No template can name these: they are not identifiers.
pub(super) const TEXT: &str = "~";
pub(super) const ADD: &str = "+";
pub(super) const MULTIPLY: &str = "*";
pub(super) const POWER: &str = "**";
pub(super) const SETTLE: &str = "<settle>";
pub(super) const STORE: &str = "<store>";

pub(super) fn install(environment: &mut Environment<'_>, budget: &Arc<Budget>) {
    let shared = Arc::clone(budget);
    environment.add_function(TEXT, move |left: Value, right: Value| join(&left, &right, &shared));
    let shared = Arc::clone(budget);
    environment.add_function(ADD, move |left: Value, right: Value| add(&left, &right, &shared));
    environment.add_function(MULTIPLY, |left: Value, right: Value| {
        number(&left, &right, "*", i64::checked_mul, |left, right| left * right)
    });
    environment.add_function(POWER, |left: Value, right: Value| {
        let power = |left: i64, right: i64| left.checked_pow(u32::try_from(right).ok()?);
        number(&left, &right, "**", power, f64::powf)
    });
    let shared = Arc::clone(budget);
    environment.add_function(SETTLE, move |value: Value| shared.settle(value));
    let shared = Arc::clone(budget);
    environment.add_function(STORE, move |value: Value| {
        if is_namespace(&value) {
            return Err(Error::new(ErrorKind::InvalidOperation, "a namespace cannot be stored in another value"));
        }
        shared.settle(value)
    });
    let shared = Arc::clone(budget);
    environment.set_formatter(move |output: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value| {
        let mut text = shared.text();
        text.push_value(value)?;
        output.write_str(text.as_str()).map_err(Error::from)
    });
}

fn join(left: &Value, right: &Value, budget: &Budget) -> Result<Value, Error> {
    let mut text = budget.text();
    text.push_value(left)?;
    text.push_value(right)?;
    Ok(text.into_value())
}

/// Python's `+`: texts, lists or numbers, never mixed.
fn add(left: &Value, right: &Value, budget: &Budget) -> Result<Value, Error> {
    let is_list = |value: &Value| value.kind() == ValueKind::Seq;
    if left.as_str().is_some() && right.as_str().is_some() {
        return join(left, right, budget);
    }
    if is_list(left) && is_list(right) {
        let items: Vec<Value> = left.try_iter()?.chain(right.try_iter()?).collect();
        return budget.settle(Value::from(items));
    }
    number(left, right, "+", i64::checked_add, |left, right| left + right)
}

fn number(
    left: &Value,
    right: &Value,
    operator: &str,
    whole: impl Fn(i64, i64) -> Option<i64>,
    real: impl Fn(f64, f64) -> f64,
) -> Result<Value, Error> {
    let impossible = |reason: &str| {
        let (left, right) = (left.kind(), right.kind());
        Error::new(ErrorKind::InvalidOperation, format!("{left} {operator} {right}: {reason}"))
    };
    if left.is_integer() && right.is_integer() {
        let (Ok(left), Ok(right)) = (i64::try_from(left.clone()), i64::try_from(right.clone())) else {
            return Err(impossible("number too large"));
        };
        return whole(left, right).map(Value::from).ok_or_else(|| impossible("number too large"));
    }
    if left.kind() != ValueKind::Number || right.kind() != ValueKind::Number {
        return Err(impossible("not supported"));
    }
    match (f64::try_from(left.clone()), f64::try_from(right.clone())) {
        (Ok(left), Ok(right)) => Ok(Value::from(real(left, right))),
        _ => Err(impossible("not numbers")),
    }
}
