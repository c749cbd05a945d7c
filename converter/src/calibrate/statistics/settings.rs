//! How statistics are taken, and how far that is.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::DType;
use hardtack_format::Encoding;

/// The numbers that calibration computes with.
pub(super) const DTYPE: DType = DType::F32;

/// How statistics are taken.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The encodings to be tried on every matrix.
    pub options: Vec<Encoding>,
    /// The seed that the windows were drawn with; only recorded.
    pub seed: u64,
    /// Fewest tokens of a text.
    pub domain_tokens_min: usize,
    /// Blocks' inputs stay in memory up to this many bytes; beyond, they go to a temporary file.
    pub boundary_bytes_max: u64,
    /// Folder of that temporary file.
    pub scratch: &'a Path,
    /// Where the tables go. Beside it, under the same name with `.state`, is what is done so
    /// far.
    pub output: Option<&'a Path>,
    /// Set from elsewhere to stop.
    pub stop: &'a AtomicBool,
}

impl<'a> Settings<'a> {
    /// No encodings are tried and no tables kept; blocks' inputs may take a GiB, and a text needs
    /// two tokens.
    pub fn new(scratch: &'a Path, stop: &'a AtomicBool) -> Self {
        Self {
            options: Vec::new(),
            seed: 0,
            domain_tokens_min: 2,
            boundary_bytes_max: 1 << 30,
            scratch,
            output: None,
            stop,
        }
    }
}

/// The encodings of codes: 1, 2, 3, 4, 5, 6 and 8 bits.
pub fn default_options() -> Vec<Encoding> {
    Encoding::MATRICES.into_iter().filter(|encoding| encoding.code_bits().is_some()).collect()
}

/// How far a calibration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Windows done, counted once for every layer in each direction and once for the head.
    pub done: u64,
    /// All of them.
    pub total: u64,
}

/// A part of a calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Through the layers, first to last.
    Forward,
    /// The loss and its gradient.
    Head,
    /// Through the layers, last to first, with all costs.
    Backward,
}
