//! The tokens of a session's text, as far back as anything may ask for them: all memory is there
//! from the start.

use crate::cache::size::KvSize;
use crate::error::Error;
use crate::options::BATCH_MAX;

/// The newest tokens of a text. An exact cache keeps every token; a ring cannot go back further
/// than it reaches, so older tokens are dropped.
#[derive(Debug)]
pub struct History {
    /// Position of the first token that is kept.
    first: usize,
    /// Capacity `tokens_max`, never exceeded.
    tokens: Vec<u32>,
    /// Tokens that are kept at least, once there were as many.
    window: usize,
    tokens_max: usize,
}

impl History {
    /// Room for the tokens of a cache.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn new(kv: KvSize) -> Result<Self, Error> {
        let (window, tokens_max) = sizes(kv);
        let mut tokens = Vec::new();
        tokens
            .try_reserve_exact(tokens_max)
            .map_err(|_| Error::Allocation { bytes: Self::bytes(kv) })?;
        Ok(Self { first: 0, tokens, window, tokens_max })
    }

    /// Bytes that [`History::new`] allocates.
    pub fn bytes(kv: KvSize) -> u64 {
        (sizes(kv).1 as u64).saturating_mul(size_of::<u32>() as u64)
    }

    /// Position of the first token of [`History::tokens`].
    pub const fn first(&self) -> usize {
        self.first
    }

    /// The tokens that are kept.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The most tokens that are ever kept.
    pub const fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// The tokens from a position on, if they are all kept.
    pub fn since(&self, position: usize) -> Option<&[u32]> {
        self.tokens.get(position.checked_sub(self.first)?..)
    }

    /// Adds at most `BATCH_MAX` tokens.
    pub fn push(&mut self, tokens: &[u32]) {
        assert!(tokens.len() <= BATCH_MAX, "a batch");
        if self.tokens.len() + tokens.len() > self.tokens_max {
            let dropped = self.tokens.len() - self.window;
            self.tokens.drain(..dropped);
            self.first += dropped;
        }
        self.tokens.extend_from_slice(tokens);
    }

    /// Drops all tokens from a position on. False if that is before the first token kept: the
    /// text is unknown then.
    pub fn truncate(&mut self, position: usize) -> bool {
        let kept = position.checked_sub(self.first);
        match kept {
            Some(kept) => self.tokens.truncate(kept),
            None => self.clear(),
        }
        kept.is_some()
    }

    /// Becomes another history of the same cache. No memory is allocated.
    pub fn copy_from(&mut self, other: &Self) {
        self.first = other.first;
        self.tokens.clone_from(&other.tokens);
    }

    /// Forgets the text.
    pub fn clear(&mut self) {
        self.first = 0;
        self.tokens.clear();
    }

    /// Becomes what was saved: `count` tokens from position `first` on, which the caller then
    /// pushes.
    pub fn begin_at(&mut self, first: usize) {
        self.tokens.clear();
        self.first = first;
    }

    /// How many tokens at the start of `prompt` are those of the text; 0 where the text's start was
    /// dropped.
    pub fn common(&self, prompt: &[u32]) -> usize {
        if self.first > 0 {
            return 0;
        }
        self.tokens.iter().zip(prompt).take_while(|(held, wanted)| held == wanted).count()
    }
}

/// The window, and the most tokens. A ring's window slides by its own length, so that a token costs
/// no copy on average.
fn sizes(kv: KvSize) -> (usize, usize) {
    match kv {
        KvSize::F16(tokens) | KvSize::F32(tokens) => (tokens, tokens),
        KvSize::Ring(size) => {
            let window = size.reach.saturating_add(64);
            (window, window.saturating_mul(2).saturating_add(BATCH_MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides_and_says_what_it_knows() {
        let mut history =
            History { first: 0, tokens: Vec::with_capacity(8), window: 3, tokens_max: 8 };
        for token in 0..8 {
            history.push(&[token]);
        }
        assert_eq!((history.first(), history.common(&[0, 1, 9])), (0, 2));
        history.push(&[8, 9]);
        assert_eq!((history.first(), history.tokens()), (5, &[5, 6, 7, 8, 9][..]));
        assert_eq!(
            (history.since(8), history.since(4), history.since(10)),
            (Some(&[8, 9][..]), None, Some(&[][..]))
        );
        assert_eq!(history.common(&[0, 1]), 0);
        assert!(history.truncate(6) && history.tokens() == [5]);
        assert!(!history.truncate(4) && history.tokens().is_empty());
        assert_eq!(history.tokens.capacity(), 8);
    }
}
