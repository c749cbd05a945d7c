//! Values of flags that are more than a word or a number: encodings, bits of a ring, escapes, and
//! the ranges of numbers.

use clap::builder::RangedU64ValueParser;
use hardtack::format::Encoding;
use hardtack::{Ladder, RingBits};

/// Tokens, windows, items: more of them than this is a slip of the keyboard, and less than what
/// sums could overflow by.
pub const COUNT_MAX: u64 = 1 << 32;

/// A number of things from `low` to [`COUNT_MAX`].
pub fn count(low: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(low..=COUNT_MAX.min(usize::MAX as u64))
}

/// A number of tokens that are kept in memory all at once.
pub fn tokens_at_once() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(0..=1 << 24)
}

/// Most new tokens of an answer; `None` for as many as there come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLimit(pub Option<usize>);

/// Reads a limit of tokens, -1 for none.
pub fn parse_token_limit(text: &str) -> Result<TokenLimit, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(TokenLimit(None)),
        Ok(limit) if (0..=COUNT_MAX as i64).contains(&limit) => usize::try_from(limit)
            .map(|limit| TokenLimit(Some(limit)))
            .map_err(|error| error.to_string()),
        _ => Err("expected a number of tokens, or -1 for no limit".to_owned()),
    }
}

/// The seed of a sampled text; `None` for a random one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub Option<u64>);

/// Reads a seed, -1 for a random one.
pub fn parse_seed(text: &str) -> Result<Seed, String> {
    match text {
        "-1" => Ok(Seed(None)),
        text => text
            .parse()
            .map(|seed| Seed(Some(seed)))
            .map_err(|_| format!("expected 0 to {}, or -1 for a random seed", u64::MAX)),
    }
}

/// Reads the escapes that shells leave to programs: `\n`, `\t`, `\r`, `\\`, and `\xHH` and
/// `\u{HHHH}` for other characters. A backslash before anything else stays.
pub fn parse_escapes(text: &str) -> Result<String, String> {
    let mut read = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        read.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (letter, length) = match after.chars().next() {
            Some('n') => ('\n', 1),
            Some('t') => ('\t', 1),
            Some('r') => ('\r', 1),
            Some('\\') => ('\\', 1),
            Some('x') => (code(after.get(1..3), text)?, 3),
            Some('u') => {
                let digits = after[1..].strip_prefix('{').and_then(|digits| digits.split_once('}'));
                let digits = digits.map(|(digits, _)| digits);
                (code(digits, text)?, 3 + digits.map_or(0, str::len))
            }
            _ => ('\\', 0),
        };
        read.push(letter);
        rest = &after[length..];
    }
    read.push_str(rest);
    Ok(read)
}

fn code(digits: Option<&str>, text: &str) -> Result<char, String> {
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    number
        .and_then(char::from_u32)
        .ok_or_else(|| format!("'{text}': expected \\xHH or \\u{{HHHH}}"))
}

/// Reads the name of an encoding.
pub fn parse_encoding(text: &str) -> Result<Encoding, String> {
    Encoding::from_name(text)
        .ok_or_else(|| "expected 1, 2, 3, 4, 5, 6, 8, f16, bf16 or f32".to_owned())
}

/// Reads bits of keys and values from new to old.
pub fn parse_ring_bits(text: &str) -> Result<RingBits, String> {
    let expected = || {
        "expected falling numbers out of 8, 6, 4, 3 and 2, or learned, or learned:BITS".to_owned()
    };
    match text.strip_prefix("learned") {
        Some("") => return Ok(RingBits::Learned(None)),
        Some(rest) => {
            let bits = rest.strip_prefix(':').and_then(|bits| bits.parse().ok());
            return bits.map(|bits| RingBits::Learned(Some(bits))).ok_or_else(expected);
        }
        None => {}
    }
    let step = |step: &str| {
        let (keys, values) = step.split_once('/').unwrap_or((step, step));
        Some([keys.parse().ok()?, values.parse().ok()?])
    };
    let steps: Option<Vec<[u32; 2]>> = text.split(',').map(step).collect();
    steps.and_then(|steps| Ladder::new(&steps).ok()).map(RingBits::Ladder).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_shells() {
        for (text, read) in [
            ("plain", "plain"),
            ("\\n", "\n"),
            ("a\\tb\\r\\n", "a\tb\r\n"),
            ("\\\\n", "\\n"),
            ("\\x41\\u{1f600}", "A\u{1f600}"),
            ("\\d+", "\\d+"),
            ("end\\", "end\\"),
        ] {
            assert_eq!(parse_escapes(text).as_deref(), Ok(read), "{text}");
        }
        for bad in ["\\x4", "\\xzz", "\\u41", "\\u{}", "\\u{d800}", "\\x\u{e9}\u{e9}"] {
            assert!(parse_escapes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_and_seeds_know_minus_one() {
        assert_eq!(parse_token_limit("-1"), Ok(TokenLimit(None)));
        assert_eq!(parse_token_limit("0"), Ok(TokenLimit(Some(0))));
        assert_eq!(parse_token_limit("512"), Ok(TokenLimit(Some(512))));
        for bad in ["-2", "", "1e3", "18446744073709551615", "many"] {
            assert!(parse_token_limit(bad).is_err(), "{bad}");
        }
        assert_eq!((parse_seed("-1"), parse_seed("7")), (Ok(Seed(None)), Ok(Seed(Some(7)))));
        assert_eq!(parse_seed("18446744073709551615"), Ok(Seed(Some(u64::MAX))));
        assert!(parse_seed("18446744073709551616").is_err() && parse_seed("-2").is_err());
    }
}
