//! Python's arithmetic, which is also what puts texts and lists together.

use crate::text::template::ast::Operator;
use crate::text::template::heap::{Heap, Outcome, failed};
use crate::text::template::value::Value;
use crate::text::template::{markup, percent};

/// `left operator right`.
pub(super) fn binary(
    heap: &Heap<'_>,
    operator: Operator,
    left: &Value,
    right: &Value,
) -> Outcome<Value> {
    // A text on the left takes anything that it can write.
    if !(operator == Operator::Remainder && matches!(left, Value::Text(_))) {
        left.defined()?;
        right.defined()?;
    }
    match (operator, left, right) {
        (Operator::Add, Value::Text(left), Value::Text(right)) => markup::sum(heap, left, right),
        (Operator::Add, Value::List(left), Value::List(right)) => {
            heap.list(joined(heap, left, right)?)
        }
        (Operator::Add, Value::Tuple(left), Value::Tuple(right)) => {
            heap.tuple(joined(heap, left, right)?)
        }
        (Operator::Multiply, Value::Text(text), times)
        | (Operator::Multiply, times, Value::Text(text))
            if times.as_integer().is_some() =>
        {
            let times = repetitions(heap, text.len(), times)?;
            heap.value(&text.repeat(times))
        }
        (Operator::Multiply, Value::List(items), times)
        | (Operator::Multiply, times, Value::List(items))
            if times.as_integer().is_some() =>
        {
            heap.list(repeated(heap, items, times)?)
        }
        (Operator::Multiply, Value::Tuple(items), times)
        | (Operator::Multiply, times, Value::Tuple(items))
            if times.as_integer().is_some() =>
        {
            heap.tuple(repeated(heap, items, times)?)
        }
        (Operator::Remainder, Value::Text(format), arguments) => {
            percent::format(heap, format, arguments)
        }
        _ => number(operator, left, right),
    }
}

fn joined(heap: &Heap<'_>, left: &[Value], right: &[Value]) -> Outcome<Vec<Value>> {
    drop(heap.hold((left.len() + right.len()) * size_of::<Value>())?);
    Ok(left.iter().chain(right).cloned().collect())
}

fn repetitions(heap: &Heap<'_>, length: usize, times: &Value) -> Outcome<usize> {
    let times = times.as_integer().unwrap_or(0).clamp(0, i128::from(u32::MAX)) as usize;
    heap.room(length.saturating_mul(times))?;
    Ok(if length == 0 { 0 } else { times })
}

fn repeated(heap: &Heap<'_>, items: &[Value], times: &Value) -> Outcome<Vec<Value>> {
    let times = repetitions(heap, items.len(), times)?;
    drop(heap.hold((items.len() * times).saturating_mul(size_of::<Value>()))?);
    Ok(std::iter::repeat_n(items, times).flatten().cloned().collect())
}

fn number(operator: Operator, left: &Value, right: &Value) -> Outcome<Value> {
    if let (Some(left), Some(right)) = (left.as_integer(), right.as_integer()) {
        return whole(operator, left, right);
    }
    let (Some(one), Some(other)) = (left.as_float(), right.as_float()) else {
        let (sign, left, right) = (operator.sign(), left.type_name(), right.type_name());
        return failed(format_args!(
            "unsupported operand type(s) for {sign}: '{left}' and '{right}'"
        ));
    };
    real(operator, one, other)
}

fn whole(operator: Operator, left: i128, right: i128) -> Outcome<Value> {
    let zero = || failed("division by zero");
    let result = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide if right == 0 => return zero(),
        Operator::Divide => return Ok(Value::Float(left as f64 / right as f64)),
        Operator::FloorDivide | Operator::Remainder if right == 0 => {
            return failed("integer division or modulo by zero");
        }
        Operator::FloorDivide => left.checked_div_euclid(right).map(|euclidean| {
            // Python rounds down, Rust so that the remainder is not negative.
            if right < 0 && left.rem_euclid(right) != 0 { euclidean - 1 } else { euclidean }
        }),
        Operator::Remainder => left
            .checked_rem(right)
            .map(|rest| if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest }),
        Operator::Power if right < 0 => return real(operator, left as f64, right as f64),
        Operator::Power => match left {
            0 | 1 if right > 0 => Some(left),
            -1 => Some(if right % 2 == 0 { 1 } else { -1 }),
            _ => u32::try_from(right).ok().and_then(|power| left.checked_pow(power)),
        },
    };
    match result {
        Some(number) => Ok(Value::Integer(number)),
        None => failed(format_args!("{left} {} {right}: the number is too large", operator.sign())),
    }
}

fn real(operator: Operator, left: f64, right: f64) -> Outcome<Value> {
    let result = match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide if right == 0.0 => return failed("float division by zero"),
        Operator::Divide => left / right,
        Operator::FloorDivide if right == 0.0 => return failed("float floor division by zero"),
        Operator::Remainder if right == 0.0 => return failed("float modulo"),
        Operator::FloorDivide => ((left - remainder(left, right)) / right).round(),
        Operator::Remainder => remainder(left, right),
        Operator::Power if left == 0.0 && right < 0.0 => {
            return failed("zero cannot be raised to a negative power");
        }
        Operator::Power if left < 0.0 && right.fract() != 0.0 => {
            return failed("complex numbers are not supported");
        }
        Operator::Power => {
            let power = left.powf(right);
            if power.is_infinite() && left.is_finite() && right.is_finite() {
                return failed("the number is too large");
            }
            power
        }
    };
    Ok(Value::Float(result))
}

/// With the sign of what it is divided by.
fn remainder(left: f64, right: f64) -> f64 {
    let rest = left % right;
    if rest != 0.0 && (rest < 0.0) != (right < 0.0) { rest + right } else { rest }
}

/// `-value` and `+value`.
pub(super) fn sign(value: &Value, negative: bool) -> Outcome<Value> {
    match value.defined()? {
        Value::Float(number) => Ok(Value::Float(if negative { -number } else { *number })),
        other => match other
            .as_integer()
            .map(|number| if negative { number.checked_neg() } else { Some(number) })
        {
            Some(Some(number)) => Ok(Value::Integer(number)),
            Some(None) => failed("the number is too large"),
            None => {
                failed(format_args!("bad operand type for unary sign: '{}'", other.type_name()))
            }
        },
    }
}
