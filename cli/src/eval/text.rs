//! A long text as tokens in little memory: encoded in pieces that overlap, and joined where the
//! pieces agree.
//!
//! A tokenizer library holds about 170 bytes for each byte of the text that it encodes at once.
//! Pieces of 32 KiB bound that. What a tokenizer makes of a place in a text depends on what is
//! near: tokens at a piece's ends may differ from those of the whole text, those in its middle do
//! not. So the next piece begins [`OVERLAP`] bytes before the end of the last one, and the
//! join is a place in between from which both have the same [`RUN`] tokens. Places are counted in
//! bytes, which a text that repeats itself cannot confuse. Where the tokenizer changes the text (to
//! lower case, say) bytes do not count places, and where a word is longer than the overlap there is
//! no place: more is encoded at once then, up to the whole text.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};
use hardtack::Engine;
use hardtack::text::Tokenizer;

use super::held_out::ensure_hash_held_out;

/// Bytes that are encoded at once.
const PIECE: usize = 32 << 10;
/// Bytes that a piece has in common with the one before.
const OVERLAP: usize = 2 << 10;
/// Tokens that are equal where two pieces are joined.
const RUN: usize = 16;
/// Bytes at a piece's ends, where its tokens are not those of the whole text.
const MARGIN: usize = 256;

/// The tokens of a text.
pub struct TextTokens {
    /// As many of the first as were asked for.
    pub tokens: Vec<u32>,
    /// Of the whole text.
    pub count: usize,
}

/// Reads a file's tokens, `most` of them at most; none of these models may have been calibrated on
/// it. `room` is asked whether the bytes for them may be taken.
///
/// # Errors
/// The file cannot be read or is no UTF-8, a model was calibrated on it, or there is no room.
pub fn read<'a>(
    path: &Path,
    tokenizer: &Tokenizer,
    models: impl IntoIterator<Item = &'a Engine>,
    most: usize,
    room: impl Fn(u64) -> anyhow::Result<()>,
) -> anyhow::Result<TextTokens> {
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("{shown}"))?;
    let encode = |text: &str| Ok(tokenizer.encode(text)?);
    let mut joined = Joined::new(encode, |token| tokenizer.bytes(token), PIECE);
    let mut kept = TextTokens { tokens: Vec::new(), count: 0 };
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), vec![0; PIECE]);
    let mut read = || -> anyhow::Result<()> {
        let mut cut = Vec::new();
        loop {
            let length = file.read(&mut bytes)?;
            hasher.update(&bytes[..length]);
            cut.extend_from_slice(&bytes[..length]);
            // A character that is cut by the end of the buffer waits for its rest.
            let whole = match std::str::from_utf8(&cut) {
                Ok(text) => text.len(),
                Err(error) if error.error_len().is_none() && length > 0 => error.valid_up_to(),
                Err(error) => return Err(error).context("expected UTF-8"),
            };
            joined.push(std::str::from_utf8(&cut[..whole])?, length == 0, |tokens| {
                kept.count += tokens.len();
                let wanted = tokens.len().min(most - kept.tokens.len());
                room(size_of_val(&kept.tokens[..]) as u64 + (wanted * size_of::<u32>()) as u64)?;
                kept.tokens.extend_from_slice(&tokens[..wanted]);
                Ok(())
            })?;
            if length == 0 {
                return Ok(());
            }
            cut.drain(..whole);
        }
    };
    read().with_context(|| format!("{shown}"))?;
    ensure_hash_held_out(path, &hasher.finalize(), models)?;
    ensure!(kept.count > 0, "{shown}: a text of no tokens");
    Ok(kept)
}

/// Tokens of a text that comes in parts.
struct Joined<E, B> {
    encode: E,
    bytes_of: B,
    /// Bytes that are encoded at once if their tokens join.
    piece: usize,
    /// Text whose tokens are not all passed on.
    text: String,
    /// Bytes at its beginning that are encoded.
    end: usize,
    /// Their tokens.
    tokens: Vec<u32>,
    /// How many of these tokens are passed on.
    passed: usize,
}

impl<'b, E: Fn(&str) -> anyhow::Result<Vec<u32>>, B: Fn(u32) -> &'b [u8]> Joined<E, B> {
    fn new(encode: E, bytes_of: B, piece: usize) -> Self {
        Self { encode, bytes_of, piece, text: String::new(), end: 0, tokens: Vec::new(), passed: 0 }
    }

    /// Takes more of the text and passes on the tokens that are certain; all of them after the
    /// `last` part.
    fn push(
        &mut self,
        part: &str,
        last: bool,
        mut pass: impl FnMut(&[u32]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.text.push_str(part);
        if self.end == 0 && (last || self.text.len() >= self.piece) {
            self.encode_to(if last { self.text.len() } else { self.piece })?;
        }
        while self.end > 0 && self.end < self.text.len() {
            let begin = boundary(&self.text, self.end.saturating_sub(OVERLAP));
            let next_end = boundary(&self.text, begin + self.piece);
            if next_end < begin + self.piece - 4 && !last {
                return Ok(());
            }
            let next = (self.encode)(&self.text[begin..next_end])?;
            if let Some((at, other)) = self.join(&next, begin) {
                pass(&self.tokens[self.passed..at])?;
                self.text.drain(..begin);
                (self.tokens, self.passed, self.end) = (next, other, next_end - begin);
            } else if self.end * 2 <= self.text.len() || last {
                // More at once: what is passed on stays the beginning of the result.
                self.encode_to((self.end * 2).min(self.text.len()))?;
            } else {
                return Ok(());
            }
        }
        if last {
            pass(&self.tokens[self.passed..])?;
        }
        Ok(())
    }

    fn encode_to(&mut self, end: usize) -> anyhow::Result<()> {
        self.end = boundary(&self.text, end);
        self.tokens = (self.encode)(&self.text[..self.end])?;
        Ok(())
    }

    /// Where the tokens of the text from `begin` on may follow those of the text before. Returns
    /// how many of these are kept, and how many of `next` are left out; `None` where they do not
    /// agree.
    fn join(&self, next: &[u32], begin: usize) -> Option<(usize, usize)> {
        let own = self.places_before_end(begin);
        let other = self.places_after(begin, next);
        let inside =
            |place: usize| (MARGIN..(self.end - begin).saturating_sub(MARGIN)).contains(&place);
        let agree = |&(at, place): &(usize, usize)| {
            let found = other.binary_search_by_key(&place, |&(_, other)| other).ok()?;
            let other = other[found].0;
            let same = at >= self.passed
                && self.tokens.get(at..at + RUN)? == next.get(other..other + RUN)?;
            same.then_some((at, other))
        };
        let starts_word = |&&(at, _): &&(usize, usize)| {
            (self.bytes_of)(self.tokens[at]).first().is_some_and(u8::is_ascii_whitespace)
        };
        let places = || own.iter().filter(|&&(_, place)| inside(place));
        // Between words a join is safest.
        places().filter(starts_word).find_map(agree).or_else(|| places().find_map(agree))
    }

    /// The last tokens as (index, bytes from `begin` to the token), nearest to the end first, as
    /// far as they spell the text.
    fn places_before_end(&self, begin: usize) -> Vec<(usize, usize)> {
        let mut rest = &self.text.as_bytes()[begin..self.end];
        let mut places = Vec::new();
        for (at, &token) in self.tokens.iter().enumerate().rev() {
            let bytes = (self.bytes_of)(token);
            let Some(before) = rest.strip_suffix(bytes).filter(|_| !bytes.is_empty()) else {
                break;
            };
            rest = before;
            places.push((at, rest.len()));
        }
        places
    }

    /// The first tokens of `next` as (index, bytes from `begin` to the token), as far as they spell
    /// the text. The first may spell a space more, which some tokenizers put before a text.
    fn places_after(&self, begin: usize, next: &[u32]) -> Vec<(usize, usize)> {
        let [alone, after_space] = [0, 1].map(|more| self.places_after_spaces(begin, next, more));
        if alone.len() >= after_space.len() { alone } else { after_space }
    }

    /// The same where the first token spells `more` spaces that are not in the text.
    fn places_after_spaces(&self, begin: usize, next: &[u32], more: usize) -> Vec<(usize, usize)> {
        let text = &self.text.as_bytes()[begin..self.end];
        let mut places = Vec::new();
        let mut place = 0;
        for (at, &token) in next.iter().enumerate() {
            let mut bytes = (self.bytes_of)(token);
            if at == 0 && more > 0 {
                let Some(rest) = bytes.strip_prefix(b" ") else { break };
                bytes = rest;
            }
            if !text[place..].starts_with(bytes) {
                break;
            }
            if !bytes.is_empty() {
                places.push((at, place));
            }
            place += bytes.len();
        }
        places
    }
}

/// The last boundary between characters at or before this byte.
fn boundary(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens of words and single characters, such that a token may hold the space before its word
    /// and that a text begins with a space of its own; runs of spaces are one token.
    struct Words {
        words: Vec<Vec<u8>>,
    }

    impl Words {
        fn new(text: &str) -> Self {
            let mut words: Vec<Vec<u8>> =
                split(&format!(" {text}")).map(|word| word.as_bytes().to_vec()).collect();
            words.extend(split(text).map(|word| word.as_bytes().to_vec()));
            words.extend((0..=u8::MAX).map(|byte| vec![byte]));
            words.sort();
            words.dedup();
            Self { words }
        }

        fn encode(&self, text: &str) -> Vec<u32> {
            let id = |word: &[u8]| self.words.binary_search_by(|own| own.as_slice().cmp(word)).ok();
            let one = |word: &str| match id(word.as_bytes()) {
                Some(id) => vec![id as u32],
                None => word.bytes().map(|byte| id(&[byte]).unwrap() as u32).collect(),
            };
            split(&format!(" {text}")).flat_map(one).collect()
        }

        fn joined(&self, text: &str, piece: usize, part: usize) -> (Vec<u32>, usize) {
            let longest = std::cell::Cell::new(0);
            let encode = |text: &str| {
                longest.set(longest.get().max(text.len()));
                Ok(self.encode(text))
            };
            let mut joined =
                Joined::new(encode, |token| self.words[token as usize].as_slice(), piece);
            let mut found = Vec::new();
            let mut rest = text;
            while !rest.is_empty() {
                let (now, after) = rest.split_at(boundary(rest, part.max(4)).max(1));
                rest = after;
                joined
                    .push(now, false, |tokens| {
                        found.extend_from_slice(tokens);
                        Ok(())
                    })
                    .unwrap();
            }
            joined
                .push("", true, |tokens| {
                    found.extend_from_slice(tokens);
                    Ok(())
                })
                .unwrap();
            (found, longest.get())
        }
    }

    /// Words with the space before them.
    fn split(text: &str) -> impl Iterator<Item = &str> {
        let starts = |at: usize| {
            let space = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_whitespace);
            text.is_char_boundary(at) && space(at) && !space(at.wrapping_sub(1))
        };
        let mut from = 0;
        (1..=text.len()).filter(move |&at| at == text.len() || starts(at)).map(move |at| {
            let word = &text[from..at];
            from = at;
            word
        })
    }

    #[test]
    fn pieces_join_to_the_tokens_of_the_whole() {
        let varied: String =
            (0..9000).map(|at| format!("word{} caf\u{e9} ", at * 7919 % 613)).collect();
        let repeated = "to be or not to be ".repeat(3000);
        let lines = "one line\n\n  and   another\n".repeat(2500);
        for text in [&varied, &repeated, &lines] {
            let words = Words::new(text);
            let whole = words.encode(text);
            for (piece, part) in
                [(8 << 10, 8 << 10), (8 << 10, 1000), (5001, 70_000), (1 << 20, 4096)]
            {
                let (found, longest) = words.joined(text, piece, part);
                assert!(
                    found == whole,
                    "pieces of {piece} in parts of {part}: {} {}",
                    found.len(),
                    whole.len()
                );
                assert!(longest <= piece + 4, "{longest} bytes at once, pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_cannot_be_joined_is_encoded_whole() {
        // One word: no two pieces agree on anything.
        let text = "x".repeat(40_000);
        let encode = |text: &str| Ok(vec![text.len() as u32]);
        let mut joined = Joined::new(encode, |_| &b"?"[..], 8 << 10);
        let mut found = Vec::new();
        for part in [&text[..20_000], &text[20_000..]] {
            joined
                .push(part, false, |tokens| {
                    found.extend_from_slice(tokens);
                    Ok(())
                })
                .unwrap();
        }
        joined
            .push("", true, |tokens| {
                found.extend_from_slice(tokens);
                Ok(())
            })
            .unwrap();
        assert_eq!(found, [40_000]);
        // And a short text at once.
        let mut short = Vec::new();
        Joined::new(encode, |_| &b"?"[..], 8 << 10)
            .push("abc", true, |tokens| {
                short.extend_from_slice(tokens);
                Ok(())
            })
            .unwrap();
        assert_eq!(short, [3]);
    }
}
