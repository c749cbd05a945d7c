//! A text as windows of tokens that do not overlap, each scored by itself.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use hardtack::text::{Special, Tokenizer};
use hardtack::{Engine, KvPrecision, SessionOptions};

use super::held_out::ensure_held_out;
use crate::args::{KvArguments, WindowArguments};
use crate::{model, progress};

/// What sessions for windows of so many tokens are asked for: as the flags say, and for what that is compared with, which
/// keeps keys and values exactly.
pub fn window_options(kv: &KvArguments, size: usize, batch: usize) -> [SessionOptions; 2] {
    let exact = SessionOptions { context: size, batch, kv: model::exact_kv(kv.kv_type) };
    let options = match model::kv(kv) {
        // A ring reaches as far as the model was trained for; windows may be longer.
        ring @ KvPrecision::Ring(_) => SessionOptions { context: 0, kv: ring, ..exact },
        _ => exact,
    };
    [options, exact]
}

/// The windows of a text.
pub struct Windows {
    tokens: Vec<u32>,
    /// Takes the place of a window's first token, where the model expects a text to begin with it.
    begin: Option<u32>,
    /// Tokens of a window.
    pub size: usize,
    /// First tokens of a window that serve as context only.
    pub skip: usize,
    /// How many windows are scored.
    pub count: usize,
}

impl Windows {
    /// Reads a text that none of these models was calibrated on, and cuts it into the tokens of this tokenizer.
    pub fn of<'a>(
        text: &Path,
        arguments: &WindowArguments,
        tokenizer: &Tokenizer,
        models: impl IntoIterator<Item = &'a Engine>,
    ) -> anyhow::Result<Self> {
        let path = text.display();
        let contents = fs::read_to_string(text).with_context(|| format!("{path}"))?;
        ensure_held_out(text, contents.as_bytes(), models)?;
        let tokens = tokenizer.encode(&contents, Special::Plain).with_context(|| format!("{path}"))?;
        let (size, skip) = (arguments.ctx, arguments.skip);
        ensure!(size >= 2 && skip + 1 < size, "a window of {size} tokens with {skip} skipped has nothing to score");
        let all = tokens.len() / size;
        ensure!(all > 0, "{path}: {} tokens, but one window takes {size}", tokens.len());
        let count = if arguments.windows == 0 { all } else { arguments.windows.min(all) };
        Ok(Self { tokens, begin: tokenizer.begin(), size, skip, count })
    }

    /// Tokens of the whole text.
    pub fn text_tokens(&self) -> usize {
        self.tokens.len()
    }

    /// Calls `score` for every window, with progress, until Ctrl-C. Gives how many were scored: at least one.
    pub fn for_each(&self, mut score: impl FnMut(&[u32]) -> anyhow::Result<String>) -> anyhow::Result<usize> {
        let mut window = Vec::with_capacity(self.size);
        let done = progress::for_each(self.count, "windows", |index| {
            window.clear();
            window.extend_from_slice(&self.tokens[index * self.size..(index + 1) * self.size]);
            if let Some(begin) = self.begin {
                window[0] = begin;
            }
            score(&window).map(Some)
        })?;
        ensure!(done > 0, "interrupted before the first window");
        Ok(done)
    }
}
