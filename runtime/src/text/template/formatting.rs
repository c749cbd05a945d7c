//! Python's `format(value, spec)`: `[[fill]align][sign][#][0][width][grouping][.precision][type]`.

use crate::text::template::chars::{self, Ch};
use crate::text::template::heap::{Heap, Outcome, failed};
use crate::text::template::value::Value;
use crate::text::template::{number, print};

/// Most decimals.
const PRECISION_MAX: usize = 1000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    pub fill: Ch,
    pub align: Option<char>,
    pub sign: char,
    pub alternate: bool,
    pub width: usize,
    pub grouping: Option<char>,
    pub precision: Option<usize>,
    pub kind: Option<char>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            fill: Ch::own(' '),
            align: None,
            sign: '-',
            alternate: false,
            width: 0,
            grouping: None,
            precision: None,
            kind: None,
        }
    }
}

impl Spec {
    pub fn parse(spec: &[Ch]) -> Outcome<Self> {
        let mut parsed = Self::default();
        let mut rest = spec;
        let is_align = |ch: &Ch| ['<', '>', '=', '^'].contains(&ch.get());
        match rest {
            [fill, align, after @ ..] if is_align(align) => {
                (parsed.fill, parsed.align, rest) = (*fill, Some(align.get()), after);
            }
            [align, after @ ..] if is_align(align) => {
                (parsed.align, rest) = (Some(align.get()), after)
            }
            _ => {}
        }
        let take = |rest: &mut &[Ch], wanted: &[char]| match rest.split_first() {
            Some((first, after)) if wanted.contains(&first.get()) => {
                *rest = after;
                Some(first.get())
            }
            _ => None,
        };
        parsed.sign = take(&mut rest, &['+', '-', ' ']).unwrap_or('-');
        take(&mut rest, &['z']);
        parsed.alternate = take(&mut rest, &['#']).is_some();
        if take(&mut rest, &['0']).is_some() && parsed.align.is_none() {
            (parsed.fill, parsed.align) = (Ch::own('0'), Some('='));
        }
        parsed.width = digits(&mut rest)?.unwrap_or(0);
        parsed.grouping = take(&mut rest, &[',', '_']);
        if take(&mut rest, &['.']).is_some() {
            let Some(precision) = digits(&mut rest)? else {
                return failed("Format specifier missing precision");
            };
            parsed.precision = Some(precision);
        }
        if let Some((kind, after)) = rest.split_first() {
            (parsed.kind, rest) = (Some(kind.get()), after);
        }
        if rest.is_empty() { Ok(parsed) } else { failed("Invalid format specifier") }
    }
}

/// Digits at the beginning of what is left, if there are any.
pub(super) fn digits(rest: &mut &[Ch]) -> Outcome<Option<usize>> {
    let count = rest.iter().take_while(|ch| ch.get().is_ascii_digit()).count();
    let (run, after) = rest.split_at(count);
    *rest = after;
    match chars::string(run).parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) if count == 0 => Ok(None),
        Err(_) => failed("Too many decimal digits in format string"),
    }
}

/// `format(value, spec)`.
pub(super) fn format(heap: &Heap<'_>, value: &Value, spec: &[Ch]) -> Outcome<Vec<Ch>> {
    if spec.is_empty() {
        return Ok(print::text(heap, value)?.to_vec());
    }
    let spec = Spec::parse(spec)?;
    match value {
        Value::Text(text) => {
            if !matches!(spec.kind, None | Some('s')) || spec.align == Some('=') || spec.sign != '-'
            {
                return failed("Invalid format specifier for object of type 'str'");
            }
            let text = &text[..spec.precision.unwrap_or(text.len()).min(text.len())];
            padded(heap, &[], text, &spec, '<')
        }
        Value::Bool(_) if spec.kind.is_none() => {
            let text = print::text(heap, value)?;
            padded(heap, &[], &text, &spec, '<')
        }
        other => match (other.as_integer(), other.as_float()) {
            (Some(number), _)
                if !matches!(spec.kind, Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')) =>
            {
                integer(heap, number, &spec)
            }
            (_, Some(number)) => real(heap, number, &spec),
            _ => failed(format_args!(
                "unsupported format string passed to {}.__format__",
                other.described()
            )),
        },
    }
}

/// A whole number.
pub(super) fn integer(heap: &Heap<'_>, number: i128, spec: &Spec) -> Outcome<Vec<Ch>> {
    let size = number.unsigned_abs();
    let (prefix, digits, group) = match spec.kind {
        None | Some('d' | 'n' | 'i' | 'u') => ("", size.to_string(), 3),
        Some('b') => ("0b", format!("{size:b}"), 4),
        Some('o') => ("0o", format!("{size:o}"), 4),
        Some('x') => ("0x", format!("{size:x}"), 4),
        Some('X') => ("0X", format!("{size:X}"), 4),
        Some('c') => {
            let character = u32::try_from(number).ok().and_then(char::from_u32);
            let Some(character) = character else { return failed("%c arg not in range(0x110000)") };
            return padded(heap, &[], &[Ch::own(character)], spec, '<');
        }
        Some(kind) => {
            return failed(format_args!("Unknown format code '{kind}' for object of type 'int'"));
        }
    };
    let prefix = if spec.alternate { prefix } else { "" };
    let head: Vec<Ch> = chars::own(sign(number < 0, spec.sign)).chain(chars::own(prefix)).collect();
    numeric(heap, &head, &digits, group, spec)
}

/// A float, by its type or as it is.
pub(super) fn real(heap: &Heap<'_>, number: f64, spec: &Spec) -> Outcome<Vec<Ch>> {
    let precision = spec.precision.unwrap_or(6);
    if precision > PRECISION_MAX {
        return failed(format_args!("more than {PRECISION_MAX} decimals"));
    }
    let digits = match spec.kind {
        None if spec.precision.is_none() => number::shortest(number.abs()),
        None => number::by_type(number, 'g', precision, false),
        Some('n') => number::by_type(number, 'g', precision, spec.alternate),
        Some('%') => number::by_type(number * 100.0, 'f', precision, spec.alternate) + "%",
        Some(kind @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G')) => {
            number::by_type(number, kind, precision, spec.alternate)
        }
        Some(kind) => {
            return failed(format_args!("Unknown format code '{kind}' for object of type 'float'"));
        }
    };
    let negative = number.is_sign_negative() && !number.is_nan();
    let head: Vec<Ch> = chars::own(sign(negative, spec.sign)).collect();
    numeric(heap, &head, &digits, 3, spec)
}

fn sign(negative: bool, wanted: char) -> &'static str {
    match wanted {
        _ if negative => "-",
        '+' => "+",
        ' ' => " ",
        _ => "",
    }
}

/// Puts signs between groups of digits, and pads.
fn numeric(
    heap: &Heap<'_>,
    head: &[Ch],
    digits: &str,
    group: usize,
    spec: &Spec,
) -> Outcome<Vec<Ch>> {
    let whole = digits.find(|other: char| !other.is_ascii_hexdigit()).unwrap_or(digits.len());
    let whole = if group == 3 {
        digits.find(|other: char| !other.is_ascii_digit()).unwrap_or(whole)
    } else {
        whole
    };
    let mut body = Vec::new();
    for (index, character) in digits[..whole].chars().enumerate() {
        if let Some(separator) = spec.grouping
            && index > 0
            && (whole - index) % group == 0
        {
            body.push(Ch::own(separator));
        }
        body.push(Ch::own(character));
    }
    body.extend(chars::own(&digits[whole..]));
    padded(heap, head, &body, spec, '>')
}

/// Fills up to the width; `=` fills between the sign and the digits.
pub(super) fn padded(
    heap: &Heap<'_>,
    head: &[Ch],
    body: &[Ch],
    spec: &Spec,
    align: char,
) -> Outcome<Vec<Ch>> {
    let missing = spec.width.saturating_sub(head.len() + body.len());
    heap.room(missing.saturating_add(head.len() + body.len()))?;
    let (before, between, after) = match spec.align.unwrap_or(align) {
        '<' => (0, 0, missing),
        '^' => (missing / 2, 0, missing - missing / 2),
        '=' => (0, missing, 0),
        _ => (missing, 0, 0),
    };
    let fill = |count: usize| std::iter::repeat_n(spec.fill, count);
    let head = fill(before).chain(head.iter().copied()).chain(fill(between));
    Ok(head.chain(body.iter().copied()).chain(fill(after)).collect())
}
