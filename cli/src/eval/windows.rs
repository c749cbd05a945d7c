//! A text as windows of tokens that do not overlap, each scored by itself.

use std::path::Path;

use anyhow::ensure;
use hardtack::text::Tokenizer;
use hardtack::{Engine, KvPrecision, SessionOptions};

use super::text;
use crate::args::{KvArguments, WindowArguments};
use crate::{model, progress};

/// What sessions for windows of `size` tokens are asked for: as the flags say, and for the
/// comparison, which keeps keys and values exactly.
pub fn window_options(kv: &KvArguments, size: usize, batch: usize) -> [SessionOptions; 2] {
    let exact = SessionOptions::new().context(size).batch(batch).kv(model::exact_kv(kv.kv_type));
    let options = match model::kv(kv) {
        // A ring reaches as far as the model was trained for; windows may be longer.
        ring @ KvPrecision::Ring(_) => SessionOptions::new().batch(batch).kv(ring),
        _ => exact,
    };
    [options, exact]
}

/// The windows of a text.
pub struct Windows {
    /// Of the windows, and of the text where all of it is asked for.
    tokens: Vec<u32>,
    text_tokens: usize,
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
    /// Reads a text that none of these models was calibrated on, and cuts it into the tokens of
    /// this tokenizer. `room` is asked whether the bytes for them may be taken.
    pub fn of<'a>(
        file: &Path,
        arguments: &WindowArguments,
        tokenizer: &Tokenizer,
        models: impl IntoIterator<Item = &'a Engine>,
        room: impl Fn(u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let (size, skip) = (arguments.ctx, arguments.skip);
        ensure!(
            size >= 2 && skip + 1 < size,
            "a window of {size} tokens with {skip} skipped has nothing to score"
        );
        let most = if arguments.windows == 0 {
            usize::MAX
        } else {
            arguments.windows.saturating_mul(size)
        };
        let text::TextTokens { tokens, count } = text::read(file, tokenizer, models, most, room)?;
        let windows = tokens.len() / size;
        ensure!(windows > 0, "{}: {count} tokens, but one window takes {size}", file.display());
        Ok(Self {
            tokens,
            text_tokens: count,
            begin: tokenizer.begin(),
            size,
            skip,
            count: windows,
        })
    }

    /// Tokens of the whole text.
    pub fn text_tokens(&self) -> usize {
        self.text_tokens
    }

    /// Calls `score` for every window, with progress, until Ctrl-C. Returns how many were scored:
    /// at least one.
    pub fn for_each(
        &self,
        mut score: impl FnMut(&[u32]) -> anyhow::Result<String>,
    ) -> anyhow::Result<usize> {
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
