//! How large a regular expression becomes when it is compiled, judged by its text.
//!
//! What takes memory are character classes: `\w` alone is an automaton of 60 KB, since it is
//! spelled out in the bytes of UTF-8, and a counted repetition writes its inside out as often as it
//! says. So classes are counted, each as often as it is written out. Everything else is a few bytes
//! a letter.

use crate::error::{SurveyError, short, within};
use crate::limits::{CLASSES_MAX, REGEX_BYTES_MAX};

/// Letters that count as much as a class.
const LETTERS_OF_A_CLASS: usize = 64;
/// Deepest nesting of groups.
const DEPTH_MAX: usize = 64;

/// Classes of a regular expression, as often as counted repetition writes them out.
pub fn classes(pattern: &str) -> Result<usize, SurveyError> {
    within("bytes of a regular expression", pattern.len(), REGEX_BYTES_MAX)?;
    let wrong = |problem| SurveyError::Regex { pattern: short(pattern), problem };
    let mut rest = pattern.chars().peekable();
    // Of every open group what stood in it so far, in letters; and the last atom's.
    let mut groups = vec![0usize];
    let mut atom = 0usize;
    let add = |groups: &mut Vec<usize>, letters: usize| {
        let own = groups.last_mut().expect("one more than is open");
        *own = own.saturating_add(letters);
    };
    while let Some(letter) = rest.next() {
        match letter {
            '(' => {
                if groups.len() > DEPTH_MAX {
                    return Err(wrong("its groups are nested too deeply"));
                }
                groups.push(LETTERS_OF_A_CLASS / 4);
                atom = 0;
                continue;
            }
            ')' => {
                if groups.len() == 1 {
                    return Err(wrong("a group ends that did not begin"));
                }
                atom = groups.pop().expect("more than one");
            }
            '[' => {
                atom = LETTERS_OF_A_CLASS
                    * class(&mut rest).ok_or_else(|| wrong("a class without an end"))?;
            }
            '\\' => {
                let escape = rest.next().ok_or_else(|| wrong("a backslash at the end"))?;
                atom = match escape {
                    'p' | 'P' | 'w' | 'W' | 's' | 'S' | 'd' | 'D' | 'X' | 'R' | 'h' | 'H' => {
                        LETTERS_OF_A_CLASS
                    }
                    _ => 1,
                };
                if matches!(escape, 'p' | 'P' | 'x' | 'u') && rest.peek() == Some(&'{') {
                    rest.by_ref()
                        .find(|letter| *letter == '}')
                        .ok_or_else(|| wrong("a name without an end"))?;
                }
            }
            '.' => atom = LETTERS_OF_A_CLASS,
            '{' => {
                // A repetition of the last atom, which was counted once. Where it is none, it is
                // counted too high.
                let inside: String = rest.clone().take_while(|letter| *letter != '}').collect();
                let times = inside
                    .split(',')
                    .filter_map(|number| number.trim().parse::<usize>().ok())
                    .max();
                if let Some(times) = times {
                    let total = atom.saturating_mul(times);
                    add(&mut groups, total.saturating_sub(atom));
                    // What follows repeats the repetition.
                    atom = total;
                    rest.by_ref().find(|letter| *letter == '}');
                }
                continue;
            }
            '*' | '+' | '?' => continue,
            _ => atom = 1,
        }
        add(&mut groups, atom);
    }
    if groups.len() > 1 {
        return Err(wrong("a group without an end"));
    }
    let classes = groups[0].div_ceil(LETTERS_OF_A_CLASS);
    within("character classes of a regular expression", classes, CLASSES_MAX)?;
    Ok(classes)
}

/// Reads a class up to its end and says how many classes it is made of; `None` if it has no end.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let (mut depth, mut classes, mut is_first) = (1, 1, true);
    while depth > 0 {
        match rest.next()? {
            // Right after the beginning it is a letter like another.
            ']' if !is_first => depth -= 1,
            '^' if is_first => continue,
            '[' => {
                depth += 1;
                classes += 1;
            }
            '\\' if matches!(
                rest.next()?,
                'p' | 'P' | 'w' | 'W' | 's' | 'S' | 'd' | 'D' | 'h' | 'H'
            ) =>
            {
                classes += 1
            }
            _ => {}
        }
        is_first = false;
    }
    Some(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_counted_as_often_as_they_are_written_out() {
        for (pattern, expected) in [
            ("", 0),
            ("abc", 1),
            (r"\w", 1),
            (r"\w\w", 2),
            (r"\w{50}", 50),
            (r"(?:\w{50}){50}", 2514),
            (r"[a-z\p{L}]", 2),
            (r"[^]a]", 1),
            (r"[[:alpha:]x]", 2),
            (r"\p{N}{1,3}", 3),
            (r"\w{2}{3}", 6),
            (r"(?:(?:\w{9}){9}){9}", 753),
        ] {
            let found = match classes(pattern) {
                Ok(found) => found,
                Err(SurveyError::Limit { found, .. }) => found as usize,
                Err(error) => panic!("{pattern}: {error}"),
            };
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn published_patterns_are_far_below_the_limit() {
        for pattern in [
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ] {
            assert!(classes(pattern).unwrap() < CLASSES_MAX / 8, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for pattern in
            ["(", ")", "[", r"\", r"\p{L", "(((", &"(".repeat(100), &"a".repeat(5000), r"\w{600}"]
        {
            assert!(classes(pattern).is_err(), "{pattern}");
        }
        assert!(classes(r"\w{18446744073709551615}").is_err());
        assert!(classes(r"(\w{4294967295}){4294967295}").is_err());
    }
}
