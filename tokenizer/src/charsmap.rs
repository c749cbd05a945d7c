//! SentencePiece's `precompiled_charsmap`: a double-array trie of what is replaced, and the texts
//! it is replaced by.
//!
//! In base64: the trie's bytes `u32`, its units `u32` each, and texts that end with a zero byte. A
//! unit's low byte is the letter that leads to it, bit 8 says that a text ends there. Bits 10 and
//! up are where its children are, xor-ed with its own place.

use crate::error::{SurveyError, within};
use crate::limits::CHARSMAP_BYTES_MAX;

/// Letters of a key that are looked up: a cluster of at most 5 bytes.
const KEY_BYTES_MAX: usize = 5;
/// Nodes that are visited; a trie of 4 MiB has a million units.
const VISITS_MAX: usize = 4 << 20;

/// How many times as long a text can become by a map.
pub fn growth(base64: &str) -> Result<f64, SurveyError> {
    within("bytes of a precompiled_charsmap", base64.len() / 4 * 3, CHARSMAP_BYTES_MAX)?;
    let map = decode(base64).ok_or(SurveyError::Charsmap("expected base64"))?;
    let (length, rest) =
        map.split_first_chunk::<4>().ok_or(SurveyError::Charsmap("expected a length first"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let units =
        rest.get(..length).ok_or(SurveyError::Charsmap("its trie is longer than the map"))?;
    let (units, []) = units.as_chunks::<4>() else {
        return Err(SurveyError::Charsmap("expected a trie of whole units"));
    };
    if units.is_empty() {
        return Err(SurveyError::Charsmap("expected a trie with a root"));
    }
    let texts = &rest[length..];
    let unit = |at: usize| units.get(at).map(|bytes| u32::from_le_bytes(*bytes) as usize);
    let offset = |unit: usize| (unit >> 10) << ((unit & (1 << 9)) >> 6);
    let (mut worst, mut visits) = (1.0f64, 0);
    // Where a node's children are, and its depth.
    let mut open = vec![(offset(unit(0).unwrap_or(0)), 0)];
    while let Some((base, depth)) = open.pop() {
        for letter in 1..=255 {
            let at = base ^ letter;
            let Some(own) = unit(at).filter(|own| own & (1 << 31 | 0xff) == letter) else {
                continue;
            };
            visits += 1;
            if visits > VISITS_MAX {
                return Err(SurveyError::Charsmap("its trie has too many branches"));
            }
            let children = at ^ offset(own);
            if own & (1 << 8) != 0 {
                // The shortest key that fits is taken: what is below it is never reached.
                let text = unit(children).map_or(0, |value| value & ((1 << 31) - 1));
                let text = texts.get(text..).unwrap_or_default();
                let bytes = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
                worst = worst.max(bytes as f64 / (depth + 1) as f64);
            } else if depth + 1 < KEY_BYTES_MAX {
                open.push((children, depth + 1));
            }
        }
    }
    Ok(worst)
}

/// Decodes base64 of the standard alphabet, with its padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    let (quads, []) = text.as_chunks::<4>() else { return None };
    let mut bytes = Vec::with_capacity(quads.len() * 3);
    for (index, quad) in quads.iter().enumerate() {
        let padding = quad.iter().rev().take_while(|letter| **letter == b'=').count();
        if padding > 2 || (padding > 0 && index + 1 < quads.len()) {
            return None;
        }
        let mut word = 0u32;
        for letter in &quad[..4 - padding] {
            let digit = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(digit);
        }
        word <<= 6 * padding;
        bytes.extend(&word.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    fn encode(bytes: &[u8]) -> String {
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let mut word = [0; 4];
            word[1..=chunk.len()].copy_from_slice(chunk);
            let word = u32::from_be_bytes(word);
            let digits = (0..4).map(|at| ALPHABET[(word >> (18 - 6 * at)) as usize & 63] as char);
            text.extend(digits.take(chunk.len() + 1));
            text.extend(std::iter::repeat_n('=', 3 - chunk.len()));
        }
        text
    }

    #[test]
    fn base64_is_decoded() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..20 {
            assert_eq!(
                decode(&encode(&bytes[250 - length..250])).as_deref(),
                Some(&bytes[250 - length..250])
            );
        }
        for wrong in ["A", "AAA", "AA=A", "====", "A===", "AA==AAAA", "A-AA"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }

    /// A map with one key of one letter.
    fn map(letter: u8, replacement: &str) -> String {
        // The root's children are at 256 ^ letter; the leaf's value is at that place ^ 512.
        let mut units = vec![0u32; 1024];
        units[0] = 256 << 10;
        let at = 256 ^ usize::from(letter);
        units[at] = u32::from(letter) | 1 << 8 | 512 << 10;
        units[at ^ 512] = 1 << 31;
        let trie: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        encode(
            &[&(trie.len() as u32).to_le_bytes(), &trie[..], replacement.as_bytes(), &[0]].concat(),
        )
    }

    #[test]
    fn growth_is_the_longest_replacement_by_its_key() {
        assert_eq!(growth(&map(b'a', "")).unwrap(), 1.0);
        assert_eq!(growth(&map(b'a', "four")).unwrap(), 4.0);
        assert_eq!(growth(&map(b'z', &"x".repeat(1000))).unwrap(), 1000.0);
    }

    #[test]
    fn what_is_shorter_than_it_says_is_refused() {
        // Eight gigabytes were asked for at once.
        assert_eq!(
            growth("/////w=="),
            Err(SurveyError::Charsmap("its trie is longer than the map"))
        );
        for wrong in ["", "AAAA", "AAAAAA==", "BAAAAA==", "AQAAAAA="] {
            assert!(growth(wrong).is_err(), "{wrong}");
        }
        assert!(matches!(growth(&"A".repeat(8 << 20)), Err(SurveyError::Limit { .. })));
    }

    #[test]
    fn a_trie_that_leads_into_itself_is_left_after_a_while() {
        // Every unit is the letter of its place, and the children of all are at the beginning.
        let units: Vec<u32> = (0..256).map(|letter| letter | letter << 10).collect();
        let trie: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let map = encode(&[&(trie.len() as u32).to_le_bytes(), &trie[..]].concat());
        assert_eq!(growth(&map), Err(SurveyError::Charsmap("its trie has too many branches")));
    }
}
