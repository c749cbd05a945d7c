//! What can stop a calibration; every message is one line.

use std::path::PathBuf;

use hardtack_format::{Role, SectionKey};

use crate::quantize::{GptqError, HessianError, PanelError};
use crate::recipe::CheckpointError;
use crate::source::SourceError;
use crate::store::{Key, StoreError};

/// A calibration that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// The checkpoint cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The computation itself failed: a tensor of a wrong shape, or memory.
    #[error("calibration: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A matrix cannot be held at one of the options.
    #[error("calibration: {0}")]
    Weights(#[from] PanelError),
    /// A matrix cannot be quantized with feedback.
    #[error("quantization: {0}")]
    Feedback(#[from] GptqError),
    /// What is wrong with the weights or inputs of one tensor.
    #[error("{section}, {role}: {source}")]
    Of {
        /// Its section.
        section: SectionKey,
        /// Its role.
        role: Role,
        /// What it is.
        source: Box<CalibrateError>,
    },
    /// The inputs of a matrix are no numbers.
    #[error("quantization: {0}")]
    Inputs(#[from] HessianError),
    /// The scratch file of encoded tensors is no use.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A calibration text is no use.
    #[error("calibration text {domain}: expected {expected}, found {found}")]
    Text {
        /// Its name.
        domain: String,
        /// What it must have.
        expected: String,
        /// What it has.
        found: String,
    },
    /// A model's predictions on a text are no numbers.
    #[error(
        "text {domain}: {what}: expected a finite number, found {found}: the model is damaged or overflows on this text, \
         and nothing that is made of it is of use"
    )]
    NotFinite {
        /// The text's name.
        domain: String,
        /// What was measured.
        what: &'static str,
        /// NaN, inf or -inf.
        found: f64,
    },
    /// The settings contradict each other.
    #[error("calibration: expected {expected}, found {found}")]
    Settings {
        /// What is needed.
        expected: String,
        /// What was wanted.
        found: String,
    },
    /// A side file is not what it must be.
    #[error("{}: {field}: expected {expected}, found {found}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The part of it.
        field: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Stopped from outside.
    #[error("interrupted: the layers that were finished are kept if a state file was asked for")]
    Interrupted,
}

impl CalibrateError {
    /// Says which tensor it is about.
    pub(crate) fn of(self, (section, role): Key) -> Self {
        Self::Of { section, role, source: Box::new(self) }
    }
}

impl From<SourceError> for CalibrateError {
    fn from(error: SourceError) -> Self {
        Self::Checkpoint(error.into())
    }
}
