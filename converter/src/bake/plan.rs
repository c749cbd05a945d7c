//! The most memory that a bake takes, known before it begins from lengths of files and shapes of
//! tensors, and how large the pieces are that weights are read in.
//!
//! A bake holds one thing after another: the checkpoint's headers all the time, then its tokenizer
//! while the blob's text is made and tried, then one piece of a tensor as floats and as codes. So
//! its peak is the largest of these stages, and the last one can be made small at the price of more
//! and smaller pieces.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use hardtack_format::encoding::PANEL_ROWS;
use hardtack_models::{Recipe, TensorSource};

use super::error::BakeError;
use crate::source::{Checkpoint, Form};

/// Code, the main thread's stack, buffers of files, and what the allocator keeps for itself.
const PROCESS_BYTES: u64 = 16 << 20;
/// A thread's stack as far as it is used, and the allocator's room for it.
const THREAD_BYTES: u64 = 256 << 10;
/// Bytes in memory for each byte of a checkpoint's headers: names and shapes as they are found,
/// looked up and planned.
const HEADER_FACTOR: u64 = 8;
/// Bytes that making and trying a tokenizer takes at its peak for each byte of a GGUF file's
/// header, most of which is the tokenizer: measured in `cli/tests/bake_memory.rs`.
const GGUF_TEXT_FACTOR: u64 = 18;
/// The same for each byte of a `tokenizer.json` and of the configurations beside it.
const JSON_TEXT_FACTOR: u64 = 32;
/// A piece that the reader dequantizes from.
const READ_BYTES: u64 = 2 << 20;
/// Numbers of a tensor in memory at once for each thread, where memory is not short.
const THREAD_ELEMENTS: usize = 1 << 18;
/// Bounds of that number for all threads together.
const ELEMENTS: [usize; 2] = [1 << 20, 8 << 20];

/// What a bake takes at most, stage by stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BakePlan {
    /// Code, stacks and the allocator, all the time.
    pub process_bytes: u64,
    /// Names, shapes and settings of the checkpoint, all the time.
    pub header_bytes: u64,
    /// The tokenizer while the blob's text is made of it and tried.
    pub text_bytes: u64,
    /// Pieces of weights on their way into the blob, and the blob's text until it is written.
    pub weights_bytes: u64,
    /// The largest stage of a calibration, where there is one.
    pub calibration_bytes: Option<u64>,
    /// How weights are read.
    pub(super) pieces: Pieces,
}

/// In what pieces weights are read and encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pieces {
    /// Numbers at once, though never fewer than those of a panel.
    pub elements: usize,
    /// Threads that encode them.
    pub threads: usize,
}

impl Pieces {
    /// Whole panels of this many columns that are read at once, in rows.
    pub fn rows(self, columns: usize) -> usize {
        (self.elements / columns.max(1) / PANEL_ROWS).max(1) * PANEL_ROWS
    }

    /// Smaller pieces, and once they are the smallest fewer threads; none if there is no less.
    fn smaller(self) -> Option<Self> {
        match self {
            Self { elements: 2.., .. } => Some(Self { elements: self.elements / 2, ..self }),
            Self { threads: 2.., .. } => Some(Self { threads: self.threads / 2, ..self }),
            _ => None,
        }
    }
}

impl BakePlan {
    /// Plans a bake within `memory_max` bytes, in pieces as large as they allow.
    ///
    /// # Errors
    /// They are too few, whatever the pieces.
    pub(super) fn new(
        checkpoint: &Checkpoint,
        recipe: &Recipe,
        calibration_bytes: Option<u64>,
        memory_max: Option<u64>,
    ) -> Result<Self, BakeError> {
        let threads = rayon::current_num_threads();
        let elements = (threads * THREAD_ELEMENTS).clamp(ELEMENTS[0], ELEMENTS[1]);
        let headers = header_lengths(checkpoint);
        let text = text_length(checkpoint);
        let mut plan = Self {
            process_bytes: PROCESS_BYTES,
            header_bytes: headers * HEADER_FACTOR,
            text_bytes: match checkpoint.form() {
                Form::Gguf(_) => text * GGUF_TEXT_FACTOR,
                Form::HuggingFace { .. } => text * JSON_TEXT_FACTOR,
            },
            weights_bytes: 0,
            calibration_bytes,
            pieces: Pieces { elements, threads },
        };
        let mut pieces = Some(plan.pieces);
        while let Some(own) = pieces {
            plan.pieces = own;
            plan.weights_bytes = 2 * text + weights_bytes(recipe, own);
            match memory_max {
                Some(limit) if plan.peak_bytes() > limit && plan.is_led_by_weights() => {
                    pieces = own.smaller()
                }
                _ => break,
            }
        }
        match memory_max {
            Some(limit) if plan.peak_bytes() > limit => Err(plan.refusal(limit)),
            _ => Ok(plan),
        }
    }

    /// Bytes of the largest stage with what is there all the time.
    pub fn peak_bytes(&self) -> u64 {
        let stage = self.stages().map(|(_, bytes)| bytes).max().unwrap_or(0);
        self.process_bytes + self.header_bytes + stage
    }

    /// The stages that come one after another, each without what is there all the time.
    pub fn stages(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let calibration = self.calibration_bytes.map(|bytes| ("calibration", bytes));
        [("tokenizer", self.text_bytes)]
            .into_iter()
            .chain(calibration)
            .chain([("weights", self.weights_bytes)])
    }

    /// Whether smaller pieces make the peak smaller.
    fn is_led_by_weights(&self) -> bool {
        self.weights_bytes > self.text_bytes.max(self.calibration_bytes.unwrap_or(0))
    }

    fn refusal(&self, limit: u64) -> BakeError {
        let needed = self.peak_bytes();
        let advice = match self.calibration_bytes {
            Some(bytes) if bytes >= self.text_bytes.max(self.weights_bytes) => {
                format!(
                    "a limit of {needed} bytes would do, and so might fewer calibration tokens or shorter windows"
                )
            }
            _ => format!("a limit of {needed} bytes would do"),
        };
        BakeError::Memory { needed, parts: self.to_string(), limit, advice }
    }
}

/// The stages in bytes.
impl fmt::Display for BakePlan {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "process {}, headers {}, and one after another ",
            self.process_bytes, self.header_bytes
        )?;
        for (index, (name, bytes)) in self.stages().enumerate() {
            write!(to, "{}{name} {bytes}", if index > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// Bytes before the first tensor of every file.
fn header_lengths(checkpoint: &Checkpoint) -> u64 {
    let mut firsts = BTreeMap::new();
    for tensor in checkpoint.names().filter_map(|name| checkpoint.tensor(name)) {
        firsts
            .entry(tensor.file)
            .and_modify(|first: &mut u64| *first = tensor.offset.min(*first))
            .or_insert(tensor.offset);
    }
    firsts.into_values().sum()
}

/// Bytes of what the blob's text is made of.
fn text_length(checkpoint: &Checkpoint) -> u64 {
    match checkpoint.form() {
        Form::Gguf(_) => header_lengths(checkpoint),
        Form::HuggingFace { folder, .. } => {
            let length = |name: &str| {
                std::fs::metadata(Path::new(folder).join(name)).map_or(0, |file| file.len())
            };
            ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
                .into_iter()
                .map(length)
                .sum()
        }
    }
}

/// Bytes of the largest piece of any tensor.
fn weights_bytes(recipe: &Recipe, pieces: Pieces) -> u64 {
    let layers = recipe.layers.iter();
    let sources =
        layers.flat_map(|layer| layer.tensors.iter().chain(layer.experts.iter().flatten()));
    let piece = |source: &TensorSource| {
        let (columns, rows) = (source.columns as usize, source.rows as usize);
        let count = pieces.rows(columns).min(rows);
        // As floats, with what they are picked from, and encoded, at four bytes each at most.
        let padded = count.next_multiple_of(PANEL_ROWS) * columns.next_multiple_of(64);
        4 * (source.values_at_once(count) + padded) as u64
    };
    let largest = recipe.globals.iter().chain(sources).map(piece).max().unwrap_or(0);
    largest + READ_BYTES + pieces.threads as u64 * THREAD_BYTES
}
