//! How Python writes and reads numbers.

use crate::text::template::chars::{self, Ch};

/// `repr` of a float: the fewest digits that mean the same number.
pub(super) fn shortest(number: f64) -> String {
    if let Some(name) = not_finite(number) {
        return name.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = split_exponent(&scientific);
    if (-4..16).contains(&exponent) {
        let plain = format!("{number}");
        if plain.contains('.') { plain } else { plain + ".0" }
    } else {
        format!("{digits}e{}", signed_exponent(exponent))
    }
}

fn not_finite(number: f64) -> Option<&'static str> {
    match number {
        _ if number.is_nan() => Some("nan"),
        f64::INFINITY => Some("inf"),
        f64::NEG_INFINITY => Some("-inf"),
        _ => None,
    }
}

fn split_exponent(scientific: &str) -> (&str, i32) {
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (digits, exponent.parse().unwrap_or(0))
}

fn signed_exponent(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{:02}", exponent.unsigned_abs())
}

/// A float without its sign by one of the types `e`, `f`, `g` and their capitals; `alternate` keeps
/// the point and zeros.
pub(super) fn by_type(number: f64, kind: char, precision: usize, alternate: bool) -> String {
    let number = number.abs();
    let written = match not_finite(number) {
        Some(name) => name.to_owned(),
        None => match kind.to_ascii_lowercase() {
            'e' => exponential(number, precision, alternate),
            'g' => general(number, precision, alternate),
            _ => {
                let point = if alternate && precision == 0 { "." } else { "" };
                format!("{number:.precision$}{point}")
            }
        },
    };
    if kind.is_ascii_uppercase() { written.to_uppercase() } else { written }
}

fn exponential(number: f64, precision: usize, alternate: bool) -> String {
    let scientific = format!("{number:.precision$e}");
    let (digits, exponent) = split_exponent(&scientific);
    let point = if alternate && precision == 0 { "." } else { "" };
    format!("{digits}{point}e{}", signed_exponent(exponent))
}

fn general(number: f64, precision: usize, alternate: bool) -> String {
    let precision = precision.max(1);
    let scientific = format!("{number:.digits$e}", digits = precision - 1);
    let (digits, exponent) = split_exponent(&scientific);
    let without_zeros = |text: &str| match text.contains('.') && !alternate {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= precision as i32 {
        format!("{}e{}", without_zeros(digits), signed_exponent(exponent))
    } else {
        let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
        without_zeros(&format!("{number:.decimals$}"))
    }
}

/// Half to even, as Python rounds.
pub(super) fn rounded(number: f64, precision: i32) -> f64 {
    match usize::try_from(precision) {
        Ok(digits) if digits <= 400 => format!("{number:.digits$}").parse().unwrap_or(number),
        Ok(_) => number,
        Err(_) => {
            let scale = 10f64.powi(precision.saturating_neg().min(400));
            if scale.is_finite() { (number / scale).round_ties_even() * scale } else { 0.0 }
        }
    }
}

/// `int(text, base)`.
pub(super) fn parse_integer(text: &[Ch], base: u32) -> Option<i128> {
    let text = chars::string(chars::trimmed(text, chars::is_space, true, true));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let prefixes = [(16, ["0x", "0X"]), (8, ["0o", "0O"]), (2, ["0b", "0B"])];
    let prefix = prefixes.iter().find(|(of, names)| {
        (base == 0 || base == *of) && names.iter().any(|name| digits.starts_with(name))
    });
    let (base, digits) = match prefix {
        Some((of, _)) => (*of, digits[2..].strip_prefix('_').unwrap_or(&digits[2..])),
        None if base == 0 => (10, digits),
        None => (base, digits),
    };
    if digits.is_empty()
        || digits.starts_with('_')
        || digits.ends_with('_')
        || digits.contains("__")
    {
        return None;
    }
    if digits.starts_with(['+', '-']) || !(2..=36).contains(&base) {
        return None;
    }
    let number = i128::from_str_radix(&digits.replace('_', ""), base).ok()?;
    Some(if negative { -number } else { number })
}

/// `float(text)`.
pub(super) fn parse_float(text: &[Ch]) -> Option<f64> {
    let text = chars::string(chars::trimmed(text, chars::is_space, true, true));
    let sound = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
        && !(text.starts_with('_') || text.ends_with('_') || text.contains("__"));
    if !sound {
        return None;
    }
    text.replace('_', "").parse().ok()
}
