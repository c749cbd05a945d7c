//! A text file as calibration windows: some to fit on, some from its end held out to judge by.
//!
//! Windows are spread evenly over the file, which is read in pieces and never as a whole. The last
//! fifth of the file is held out, so that neighbouring sentences are not on both sides.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use hardtack_format::vocabulary::Vocabulary;
use tokenizers::Tokenizer;

use super::error::CalibrateError;
use super::text::Domain;
use crate::source::CalibrationText;
use crate::vocabulary::{TextSections, load, read_plain_text};

/// How windows are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Tokens of a window.
    pub window: usize,
    /// Tokens to fit on, rounded down to windows.
    pub tokens: usize,
    /// Tokens to judge by, likewise.
    pub held_out_tokens: usize,
}

/// One text: what a blob says about it, and its windows.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The text.
    pub text: CalibrationText,
    /// Windows to fit on.
    pub fit: Domain,
    /// Windows to judge by.
    pub held_out: Domain,
}

/// Share of a file, from its end, that is held out.
const HELD_OUT_SHARE: f64 = 0.2;
/// Bytes that are read for one token of a window that is alone: text has about 4, and what is
/// too much is cut off.
const TOKEN_BYTES: u64 = 8;

/// Cuts texts into the tokens of a checkpoint.
#[derive(Debug)]
pub struct Sampler {
    tokenizer: Tokenizer,
    begin: Option<u32>,
}

impl Sampler {
    /// For the tokenizer of a checkpoint.
    ///
    /// # Errors
    /// It has none.
    pub fn new(text: &TextSections) -> Result<Self, CalibrateError> {
        let unusable = |found: String| CalibrateError::Settings {
            expected: "a checkpoint with a tokenizer, which calibration texts need".to_owned(),
            found,
        };
        let (Some(json), Some(table)) = (&text.tokenizer, &text.vocabulary) else {
            return Err(unusable("none".to_owned()));
        };
        let mut tokenizer = load(json).map_err(|error| unusable(error.to_string()))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| unusable(error.to_string()))?;
        let table =
            Vocabulary::read(table.as_slice()).map_err(|error| unusable(error.to_string()))?;
        read_plain_text(&mut tokenizer, &table).map_err(|error| unusable(error.to_string()))?;
        let rules = table.rules();
        Ok(Self { tokenizer, begin: rules.begin.filter(|_| rules.add_begin) })
    }

    /// Draws windows from the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, is no text, or is too short.
    pub fn sample(
        &self,
        name: &str,
        path: &Path,
        sampling: Sampling,
    ) -> Result<Sample, CalibrateError> {
        let failed = |source| CalibrateError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&mut file).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let hash = hasher.finalize().to_hex().to_string();
        let text = CalibrationText {
            domain: name.to_owned(),
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes,
            blake3: hash.clone(),
        };
        let border = (bytes as f64 * (1.0 - HELD_OUT_SHARE)) as u64;
        let mut windows = |from, to, tokens: usize, what| -> Result<Domain, CalibrateError> {
            let count = tokens / sampling.window;
            let tokens =
                self.windows(&mut file, [from, to], sampling.window, count).map_err(failed)?;
            if count > 0 && tokens.is_empty() {
                return Err(CalibrateError::Text {
                    domain: name.to_owned(),
                    expected: format!("at least {} tokens {what}", sampling.window),
                    found: format!("fewer in {} bytes of {}", to - from, path.display()),
                });
            }
            Ok(Domain { name: name.to_owned(), hash: hash.clone(), tokens })
        };
        let fit = windows(0, border, sampling.tokens, "in its first four fifths, to fit on")?;
        let held_out =
            windows(border, bytes, sampling.held_out_tokens, "in its last fifth, to judge by")?;
        Ok(Sample { text, fit, held_out })
    }

    /// `count` windows, or as many as there are, between two bytes of the file.
    fn windows(
        &self,
        file: &mut File,
        [from, to]: [u64; 2],
        window: usize,
        count: usize,
    ) -> std::io::Result<Vec<Vec<u32>>> {
        let alone = window as u64 * TOKEN_BYTES;
        let mut windows = Vec::new();
        if (to - from) / alone.max(1) >= count as u64 {
            for index in 0..count as u64 {
                let at = from + (to - from) / count as u64 * index;
                let tokens = self.encode(&read_text(file, at, alone)?)?;
                // A piece of unusually long tokens falls short; the others stand for it.
                windows.extend(tokens.get(..window).map(<[u32]>::to_vec));
            }
        } else {
            let tokens = self.encode(&read_text(file, from, to - from)?)?;
            windows.extend(tokens.chunks_exact(window).take(count).map(<[u32]>::to_vec));
        }
        if let Some(begin) = self.begin {
            windows.iter_mut().for_each(|window| window[0] = begin);
        }
        Ok(windows)
    }

    fn encode(&self, text: &str) -> std::io::Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(std::io::Error::other)?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// Some bytes of a file as text, without characters that are cut at either end.
fn read_text(file: &mut File, at: u64, bytes: u64) -> std::io::Result<String> {
    file.seek(SeekFrom::Start(at))?;
    let mut buffer = Vec::new();
    file.take(bytes).read_to_end(&mut buffer)?;
    let is_inside = |byte: &u8| byte & 0xC0 == 0x80;
    let first = buffer.iter().take(3).take_while(|byte| is_inside(byte)).count();
    match std::str::from_utf8(&buffer[first..]) {
        Ok(text) => Ok(text.to_owned()),
        // Only the last character is cut.
        Err(error) if error.error_len().is_none() => {
            let end = first + error.valid_up_to();
            Ok(String::from_utf8_lossy(&buffer[first..end]).into_owned())
        }
        Err(error) => {
            let byte = at + (first + error.valid_up_to()) as u64;
            Err(std::io::Error::other(format!(
                "expected UTF-8 text, found another byte at offset {byte}"
            )))
        }
    }
}
