//! Methods of texts that look at single characters: cases, kinds of letters, and padding.

use crate::text::template::chars::{self, Ch, is_space};
use crate::text::template::formatting::{Spec, padded};
use crate::text::template::heap::{Draft, Heap, Outcome};
use crate::text::template::print::is_printable;
use crate::text::template::value::Value;

/// `text.isalpha()` and its kin.
pub(super) fn is_all(text: &[Ch], name: &str) -> bool {
    let all = |fits: fn(char) -> bool| !text.is_empty() && text.iter().all(|ch| fits(ch.get()));
    match name {
        "isalnum" => all(char::is_alphanumeric),
        "isalpha" => all(char::is_alphabetic),
        "isascii" => text.iter().all(|ch| ch.get().is_ascii()),
        "isdecimal" => all(is_decimal),
        "isdigit" => all(is_digit),
        "isnumeric" => all(char::is_numeric),
        "isprintable" => text.iter().all(|ch| is_printable(ch.get())),
        "isspace" => !text.is_empty() && text.iter().all(|ch| is_space(*ch)),
        "islower" => is_case(text, char::is_lowercase, char::is_uppercase),
        "isupper" => is_case(text, char::is_uppercase, char::is_lowercase),
        "istitle" => is_title(text),
        _ => is_identifier(text),
    }
}

/// Where the ten decimal digits of a script begin (Unicode 14, general category Nd).
const ZEROS: [u32; 61] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66,
    0xde6, 0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90,
    0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
    0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650,
    0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50,
    0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];
/// Raised, lowered, circled and other digits that are no decimal ones (Unicode 14,
/// `Numeric_Type=Digit`).
const DIGITS: [(u32, u32); 20] = [
    (0xb2, 0xb3),
    (0xb9, 0xb9),
    (0x1369, 0x1371),
    (0x19da, 0x19da),
    (0x2070, 0x2070),
    (0x2074, 0x2079),
    (0x2080, 0x2089),
    (0x2460, 0x2468),
    (0x2474, 0x247c),
    (0x2488, 0x2490),
    (0x24ea, 0x24ea),
    (0x24f5, 0x24fd),
    (0x24ff, 0x24ff),
    (0x2776, 0x277e),
    (0x2780, 0x2788),
    (0x278a, 0x2792),
    (0x10a40, 0x10a43),
    (0x10e60, 0x10e68),
    (0x11052, 0x1105a),
    (0x1f100, 0x1f10a),
];

fn is_decimal(character: char) -> bool {
    let code = u32::from(character);
    // The digits of mathematics are five times ten.
    (0x1d7ce..=0x1d7ff).contains(&code)
        || ZEROS.iter().any(|zero| (*zero..zero + 10).contains(&code))
}

fn is_digit(character: char) -> bool {
    let code = u32::from(character);
    is_decimal(character) || DIGITS.iter().any(|(first, last)| (*first..=*last).contains(&code))
}

/// Whether there are letters of a case, and none of the other.
fn is_case(text: &[Ch], wanted: fn(char) -> bool, other: fn(char) -> bool) -> bool {
    text.iter().any(|ch| wanted(ch.get())) && !text.iter().any(|ch| other(ch.get()))
}

fn is_title(text: &[Ch]) -> bool {
    let (mut after_letter, mut any) = (false, false);
    for ch in text {
        let (upper, lower) = (ch.get().is_uppercase(), ch.get().is_lowercase());
        if upper && after_letter || lower && !after_letter {
            return false;
        }
        after_letter = upper || lower;
        any |= after_letter;
    }
    any
}

fn is_identifier(text: &[Ch]) -> bool {
    let fits = |(index, ch): (usize, &Ch)| {
        let character = ch.get();
        character == '_' || character.is_alphabetic() || index > 0 && character.is_alphanumeric()
    };
    !text.is_empty() && text.iter().enumerate().all(fits)
}

/// `text.capitalize()`.
pub(in crate::text::template) fn capitalized(text: &[Ch]) -> Vec<Ch> {
    let mut made = titled(&text[..text.len().min(1)]);
    made.extend((1..text.len()).flat_map(|at| chars::lower_at(text, at)));
    made
}

/// The character that begins a word: of two letters in one, only the first is large.
fn titled(first: &[Ch]) -> Vec<Ch> {
    if let [only] = first
        && let Some(title) = title_case(only.get())
    {
        return vec![only.replaced(title)];
    }
    let upper = chars::upper(first);
    let (head, tail) = upper.split_at(upper.len().min(1));
    head.iter().copied().chain(chars::lower(tail)).collect()
}

/// Letters that have a third case.
fn title_case(character: char) -> Option<char> {
    Some(match character {
        'Ǆ' | 'ǅ' | 'ǆ' => 'ǅ',
        'Ǉ' | 'ǈ' | 'ǉ' => 'ǈ',
        'Ǌ' | 'ǋ' | 'ǌ' => 'ǋ',
        'Ǳ' | 'ǲ' | 'ǳ' => 'ǲ',
        _ => return None,
    })
}

/// `text.title()`.
pub(super) fn title(text: &[Ch]) -> Vec<Ch> {
    let mut made = Vec::with_capacity(text.len());
    let mut after_letter = false;
    for (at, ch) in text.iter().enumerate() {
        if after_letter {
            made.extend(chars::lower_at(text, at));
        } else {
            made.extend(titled(std::slice::from_ref(ch)));
        }
        after_letter = ch.get().is_uppercase() || ch.get().is_lowercase();
    }
    made
}

/// `text.swapcase()`.
pub(super) fn swapped(text: &[Ch]) -> Vec<Ch> {
    let swap = |at: usize| match text[at].get().is_uppercase() {
        true => chars::lower_at(text, at).collect(),
        false => chars::upper(&text[at..=at]),
    };
    (0..text.len()).flat_map(swap).collect()
}

/// `text.casefold()`: lower case, but for a few letters that fold to two.
pub(super) fn folded(text: &[Ch]) -> Vec<Ch> {
    let fold = |ch: &Ch| match ch.get() {
        'ß' | 'ẞ' => vec![ch.replaced('s'), ch.replaced('s')],
        'ς' => vec![ch.replaced('σ')],
        character => character.to_lowercase().map(|lower| ch.replaced(lower)).collect(),
    };
    text.iter().flat_map(fold).collect()
}

/// `text.center(width)`, which puts an odd space left where the width is odd.
pub(in crate::text::template) fn centered(
    heap: &Heap<'_>,
    text: &[Ch],
    width: usize,
    fill: Ch,
) -> Outcome<Vec<Ch>> {
    let missing = width.saturating_sub(text.len());
    heap.room(missing.saturating_add(text.len()))?;
    let left = missing / 2 + (missing & width & 1);
    let pad = |count: usize| std::iter::repeat_n(fill, count);
    Ok(pad(left).chain(text.iter().copied()).chain(pad(missing - left)).collect())
}

/// `text.ljust(width)`, `text.rjust(width)`.
pub(super) fn justified(
    heap: &Heap<'_>,
    text: &[Ch],
    width: usize,
    fill: Ch,
    align: char,
) -> Outcome<Vec<Ch>> {
    padded(heap, &[], text, &Spec { fill, width, ..Spec::default() }, align)
}

/// `text.zfill(width)`: zeros after the sign.
pub(super) fn zero_filled(heap: &Heap<'_>, text: &[Ch], width: usize) -> Outcome<Vec<Ch>> {
    let signed = usize::from(text.first().is_some_and(|first| first.is('-') || first.is('+')));
    let (sign, digits) = text.split_at(signed);
    padded(
        heap,
        sign,
        digits,
        &Spec { fill: Ch::own('0'), align: Some('='), width, ..Spec::default() },
        '=',
    )
}

/// `text.expandtabs(size)`.
pub(super) fn untabbed(heap: &Heap<'_>, text: &[Ch], size: usize) -> Outcome<Value> {
    let mut draft = Draft::new(heap)?;
    let mut column = 0;
    for ch in text {
        if ch.is('\t') {
            let spaces = if size == 0 { 0 } else { size - column % size };
            draft.many(ch.replaced(' '), spaces)?;
            column += spaces;
        } else {
            draft.one(*ch)?;
            column = if ch.is('\n') || ch.is('\r') { 0 } else { column + 1 };
        }
    }
    draft.value()
}
