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
        "isdecimal" | "isdigit" => all(|character| character.is_ascii_digit() || is_other_digit(character)),
        "isnumeric" => all(char::is_numeric),
        "isprintable" => text.iter().all(|ch| is_printable(ch.get())),
        "isspace" => !text.is_empty() && text.iter().all(|ch| is_space(*ch)),
        "islower" => is_case(text, char::is_lowercase, char::is_uppercase),
        "isupper" => is_case(text, char::is_uppercase, char::is_lowercase),
        "istitle" => is_title(text),
        _ => is_identifier(text),
    }
}

/// Decimal digits of other scripts stand in runs of ten, of which Rust knows each as numeric.
fn is_other_digit(character: char) -> bool {
    const ZEROS: [u32; 24] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
        0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0xa620, 0xff10,
    ];
    let code = u32::from(character);
    ZEROS.iter().any(|zero| (*zero..zero + 10).contains(&code))
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
    let (first, rest) = text.split_at(text.len().min(1));
    let mut made = titled(first);
    made.extend(chars::lower(rest));
    made
}

/// The character that begins a word: a ligature keeps its second letter small.
fn titled(first: &[Ch]) -> Vec<Ch> {
    let upper = chars::upper(first);
    let (head, tail) = upper.split_at(upper.len().min(1));
    head.iter().copied().chain(chars::lower(tail)).collect()
}

/// `text.title()`.
pub(super) fn title(text: &[Ch]) -> Vec<Ch> {
    let mut made = Vec::with_capacity(text.len());
    let mut after_letter = false;
    for ch in text {
        let one = std::slice::from_ref(ch);
        made.extend(if after_letter { chars::lower(one) } else { titled(one) });
        after_letter = ch.get().is_uppercase() || ch.get().is_lowercase();
    }
    made
}

/// `text.swapcase()`.
pub(super) fn swapped(text: &[Ch]) -> Vec<Ch> {
    let swap = |ch: &Ch| {
        let one = std::slice::from_ref(ch);
        if ch.get().is_uppercase() { chars::lower(one) } else { chars::upper(one) }
    };
    text.iter().flat_map(swap).collect()
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
pub(in crate::text::template) fn centered(heap: &Heap<'_>, text: &[Ch], width: usize, fill: Ch) -> Outcome<Vec<Ch>> {
    let missing = width.saturating_sub(text.len());
    heap.room(missing.saturating_add(text.len()))?;
    let left = missing / 2 + (missing & width & 1);
    let pad = |count: usize| std::iter::repeat_n(fill, count);
    Ok(pad(left).chain(text.iter().copied()).chain(pad(missing - left)).collect())
}

/// `text.ljust(width)`, `text.rjust(width)`.
pub(super) fn justified(heap: &Heap<'_>, text: &[Ch], width: usize, fill: Ch, align: char) -> Outcome<Vec<Ch>> {
    padded(heap, &[], text, &Spec { fill, width, ..Spec::default() }, align)
}

/// `text.zfill(width)`: zeros after the sign.
pub(super) fn zero_filled(heap: &Heap<'_>, text: &[Ch], width: usize) -> Outcome<Vec<Ch>> {
    let signed = usize::from(text.first().is_some_and(|first| first.is('-') || first.is('+')));
    let (sign, digits) = text.split_at(signed);
    padded(heap, sign, digits, &Spec { fill: Ch::own('0'), align: Some('='), width, ..Spec::default() }, '=')
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
