//! A long text encoded piece by piece, so that the memory it takes does not grow with it.
//!
//! A tokenizer's library takes about 200 bytes for each byte of a text. A text is therefore cut
//! between words, where the pre-tokenizers of language models cut too, and each piece after the
//! first is encoded together with the word before it, whose tokens are then dropped: what a
//! tokenizer does at a text's start does not happen at every cut.

use crate::text::TextError;

/// Most bytes that are encoded at once.
pub const PIECE_BYTES: usize = 16 << 10;
/// Longest word that is encoded again.
const WORD_BYTES_MAX: usize = 64;

/// The tokens of a text, or `None` as soon as there are more than `most`.
///
/// # Errors
/// What `encode` says.
pub fn encode_in_pieces(
    text: &str,
    most: usize,
    mut encode: impl FnMut(&str) -> Result<Vec<u32>, TextError>,
) -> Result<Option<Vec<u32>>, TextError> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let end = cut(text, start);
        let word = word_before(text, start);
        let mut piece = encode(&text[start - word.len()..end])?;
        if !word.is_empty() {
            let before = encode(word)?;
            if piece.starts_with(&before) {
                piece.drain(..before.len());
            } else {
                piece = encode(&text[start..end])?;
            }
        }
        tokens.extend(piece);
        if tokens.len() > most {
            return Ok(None);
        }
        start = end;
    }
    Ok(Some(tokens))
}

/// Where the piece from `start` on ends: before the last space between two words that leaves at
/// least half a piece, or where there is none, at any character.
fn cut(text: &str, start: usize) -> usize {
    if text.len() - start <= PIECE_BYTES {
        return text.len();
    }
    let most = text.floor_char_boundary(start + PIECE_BYTES);
    let least = text.floor_char_boundary(start + PIECE_BYTES / 2);
    let between_words = |&at: &usize| {
        let after = text[at + 1..].chars().next();
        text[..at].chars().next_back().is_some_and(char::is_alphanumeric)
            && after.is_some_and(char::is_alphanumeric)
    };
    let spaces = text[least..most].match_indices([' ', '\n']).map(|(at, _)| least + at);
    spaces.rev().find(between_words).unwrap_or(most)
}

/// The whole word that ends at `end`; empty if there is none, or a very long one.
fn word_before(text: &str, end: usize) -> &str {
    let word = text[..end].trim_end_matches(char::is_alphanumeric).len();
    if end - word <= WORD_BYTES_MAX { &text[word..end] } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a SentencePiece tokenizer: a space at the start of every text, and a token for each word
    /// with its space.
    fn words(text: &str) -> Result<Vec<u32>, TextError> {
        let text = format!(" {text}").replace('\n', " \n");
        let number = |word: &str| {
            word.bytes().fold(7, |sum: u32, byte| sum.wrapping_mul(31) + u32::from(byte))
        };
        Ok(text.split(' ').skip(1).map(number).collect())
    }

    #[test]
    fn pieces_are_the_whole() {
        let text: String =
            (0..20_000).map(|at| format!("word{} line\n", at * 7919 % 1000)).collect();
        let text = text.trim_end();
        let mut longest = 0;
        let pieces = encode_in_pieces(text, usize::MAX, |piece| {
            longest = longest.max(piece.len());
            words(piece)
        });
        assert_eq!(pieces.unwrap().unwrap(), words(text).unwrap());
        assert!(longest <= PIECE_BYTES + WORD_BYTES_MAX && text.len() > 10 * longest);
    }

    #[test]
    fn too_many_tokens_end_it_early() {
        let text = "a ".repeat(1 << 20);
        let mut calls = 0;
        let tokens = encode_in_pieces(&text, 1000, |piece| {
            calls += 1;
            words(piece)
        });
        assert!(tokens.unwrap().is_none() && calls == 1);
    }

    #[test]
    fn a_text_without_spaces_is_cut_at_a_character() {
        let text = "\u{20ac}".repeat(PIECE_BYTES);
        let mut rest = text.as_str();
        let bytes = encode_in_pieces(&text, usize::MAX, |piece| {
            rest = rest.strip_prefix(piece).expect("in order");
            Ok(vec![0; piece.len()])
        });
        assert_eq!(bytes.unwrap().unwrap().len(), text.len());
        assert!(rest.is_empty());
    }
}
