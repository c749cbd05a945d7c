//! Python's `text % values`.

use crate::text::template::chars::{self, Ch};
use crate::text::template::formatting::{Spec, digits, integer, padded, real};
use crate::text::template::heap::{Draft, Heap, Outcome, failed};
use crate::text::template::value::Value;
use crate::text::template::{compare, print};

/// The values that are left to write.
struct Values<'v> {
    all: &'v Value,
    taken: usize,
}

impl<'v> Values<'v> {
    fn next(&mut self) -> Outcome<&'v Value> {
        let value = match self.all {
            Value::Tuple(items) => items.get(self.taken),
            only => (self.taken == 0).then_some(only),
        };
        self.taken += 1;
        match value {
            Some(value) => Ok(value),
            None => failed("not enough arguments for format string"),
        }
    }

    /// Whether a tuple has items that nothing wrote, or a single value was not written.
    fn is_left(&self) -> bool {
        match self.all {
            Value::Tuple(items) => self.taken < items.len(),
            Value::Dict(_) | Value::List(_) | Value::Undefined(_) => false,
            _ => self.taken == 0,
        }
    }
}

/// `format % values`.
pub(super) fn format(heap: &Heap<'_>, format: &[Ch], values: &Value) -> Outcome<Value> {
    let mut values = Values { all: values, taken: 0 };
    let mut draft = Draft::new(heap)?;
    let mut rest = format;
    while let Some((first, after)) = rest.split_first() {
        heap.work(1)?;
        rest = after;
        if !first.is('%') {
            draft.one(*first)?;
            continue;
        }
        draft.push(&directive(heap, &mut rest, &mut values)?)?;
    }
    if values.is_left() {
        return failed("not all arguments converted during string formatting");
    }
    draft.value()
}

fn directive(heap: &Heap<'_>, rest: &mut &[Ch], values: &mut Values<'_>) -> Outcome<Vec<Ch>> {
    let named = key(heap, rest, values)?;
    let mut spec = Spec { align: Some('>'), ..Spec::default() };
    let (mut left, mut zeros) = (false, false);
    while let Some((flag, after)) = rest.split_first() {
        match flag.get() {
            '-' => left = true,
            '0' => zeros = true,
            '+' => spec.sign = '+',
            ' ' if spec.sign != '+' => spec.sign = ' ',
            ' ' => {}
            '#' => spec.alternate = true,
            _ => break,
        }
        *rest = after;
    }
    let width = count(rest, values)?.unwrap_or(0);
    left |= width < 0;
    spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
    if rest.first().is_some_and(|ch| ch.is('.')) {
        *rest = &rest[1..];
        spec.precision = Some(usize::try_from(count(rest, values)?.unwrap_or(0)).unwrap_or(0));
    }
    while rest.first().is_some_and(|ch| ['h', 'l', 'L'].contains(&ch.get())) {
        *rest = &rest[1..];
    }
    let Some((kind, after)) = rest.split_first() else { return failed("incomplete format") };
    *rest = after;
    if kind.is('%') {
        return Ok(vec![*kind]);
    }
    let value = match named {
        Some(value) => value,
        None => values.next()?.clone(),
    };
    if left {
        spec.align = Some('<');
    } else if zeros && !['s', 'r', 'a', 'c'].contains(&kind.get()) {
        (spec.fill, spec.align) = (Ch::own('0'), Some('='));
    }
    convert(heap, kind.get(), &value, spec)
}

/// `(name)` after a `%`: the value of that key.
fn key(heap: &Heap<'_>, rest: &mut &[Ch], values: &mut Values<'_>) -> Outcome<Option<Value>> {
    if !rest.first().is_some_and(|ch| ch.is('(')) {
        return Ok(None);
    }
    let Some(end) = rest.iter().position(|ch| ch.is(')')) else {
        return failed("incomplete format key");
    };
    let name = heap.value(&rest[1..end])?;
    *rest = &rest[end + 1..];
    let Value::Dict(pairs) = values.all else { return failed("format requires a mapping") };
    values.taken = 1;
    match compare::find(heap, pairs, &name)? {
        Some(value) => Ok(Some(value.clone())),
        None => failed("format: a key is missing in the mapping"),
    }
}

/// A width or precision: digits, or `*` for the next value.
fn count(rest: &mut &[Ch], values: &mut Values<'_>) -> Outcome<Option<i128>> {
    if rest.first().is_some_and(|ch| ch.is('*')) {
        *rest = &rest[1..];
        return values.next()?.integer("* wants int").map(Some);
    }
    Ok(digits(rest)?.map(|digits| digits as i128))
}

fn convert(heap: &Heap<'_>, kind: char, value: &Value, mut spec: Spec) -> Outcome<Vec<Ch>> {
    let text = |text: &[Ch]| {
        let shown = &text[..spec.precision.unwrap_or(text.len()).min(text.len())];
        padded(heap, &[], shown, &spec, '>')
    };
    match kind {
        's' => text(&print::text(heap, value)?),
        'r' | 'a' => {
            let repr = print::repr(heap, value)?;
            if kind == 'a' { text(&ascii(&repr)) } else { text(&repr) }
        }
        'c' => match value {
            Value::Text(one) if one.len() == 1 => text(one),
            other => {
                spec.kind = Some('c');
                integer(heap, other.integer("%c")?, &spec)
            }
        },
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
            let number = match value.defined()? {
                Value::Float(number) if number.is_finite() && "diu".contains(kind) => {
                    number.trunc() as i128
                }
                other => match other.as_integer() {
                    Some(number) => number,
                    None => {
                        let found = other.type_name();
                        return failed(format_args!(
                            "%{kind} format: a real number is required, not {found}"
                        ));
                    }
                },
            };
            spec.kind = Some(kind);
            let precision = spec.precision.take().unwrap_or(0);
            if precision == 0 {
                return integer(heap, number, &spec);
            }
            // Digits up to the precision are zeros, the width is filled around them.
            let signed = usize::from(number < 0 || spec.sign != '-');
            let inner = Spec {
                width: precision.saturating_add(signed),
                fill: Ch::own('0'),
                align: Some('='),
                ..spec
            };
            padded(heap, &[], &integer(heap, number, &inner)?, &spec, '>')
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let Some(number) = value.defined()?.as_float() else {
                return failed(format_args!("must be real number, not {}", value.type_name()));
            };
            spec.kind = Some(kind);
            real(heap, number, &spec)
        }
        other => failed(format_args!("unsupported format character '{other}'")),
    }
}

/// What is not ASCII, escaped.
fn ascii(text: &[Ch]) -> Vec<Ch> {
    let escaped = |ch: &Ch| match u32::from(ch.get()) {
        ..0x80 => ch.get().to_string(),
        code @ ..0x100 => format!("\\x{code:02x}"),
        code @ ..0x1_0000 => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    };
    let replaced =
        |ch: &Ch| chars::own(&escaped(ch)).map(|own| ch.replaced(own.get())).collect::<Vec<_>>();
    text.iter().flat_map(replaced).collect()
}
