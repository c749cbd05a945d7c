//! What can stop a bake.

use std::path::PathBuf;

use hardtack_format::FormatError;

#[cfg(feature = "calibrate")]
use crate::calibrate::CalibrateError;
use crate::knapsack::AllocateError;
use crate::quantize::PanelError;
use crate::recipe::CheckpointError;
use crate::source::SourceError;
use crate::store::StoreError;
use crate::vocabulary::VocabularyError;

/// A bake that did not come to its end; no blob was written. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BakeError {
    /// The checkpoint cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer cannot be used.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    /// Something would break a conversation.
    #[error(
        "{}: this model could not hold a conversation: {}; --allow-broken-chat bakes it all the same, --no-text without text",
        input.display(),
        problems.join("; ")
    )]
    BrokenChat {
        /// The checkpoint.
        input: PathBuf,
        /// What would break it, one line each.
        problems: Vec<String>,
    },
    /// A tensor's weights do not fit its encoding.
    #[error("{}: tensor {tensor}: {source}", input.display())]
    Weights {
        /// The checkpoint.
        input: PathBuf,
        /// Its name in the checkpoint.
        tensor: String,
        /// The row.
        source: PanelError,
    },
    /// The network is outside the limits of the format.
    #[error("the network does not fit the format: {0}")]
    Format(#[from] FormatError),
    /// No precision fits the budget.
    #[error(
        "a budget of {budget} bytes is too small: the smallest blob of this model, at {encoding} with embeddings and head \
         at {head}, takes {smallest} bytes"
    )]
    Budget {
        /// The budget.
        budget: u64,
        /// The lowest precision.
        encoding: &'static str,
        /// That of embeddings and head.
        head: &'static str,
        /// Its size.
        smallest: u64,
    },
    /// No allocation fits the budget.
    #[error(
        "a budget of {budget} bytes is too small: the smallest blob of this model takes {smallest} bytes"
    )]
    Floor {
        /// The budget.
        budget: u64,
        /// What would do.
        smallest: u64,
    },
    /// No allocation has so few bits.
    #[error("{bits} bits per expert are too few: the smallest mean that works is {least}")]
    ExpertBits {
        /// What was wanted.
        bits: f64,
        /// What would do.
        least: u32,
    },
    /// There are no experts to share bits among.
    #[error("{}: {asked} was asked for, which needs a model with experts; this one, of family {family}, has none", input.display())]
    NoExperts {
        /// The checkpoint.
        input: PathBuf,
        /// What was wanted.
        asked: String,
        /// Its family.
        family: &'static str,
    },
    /// No allocation fits the target.
    #[error("allocation: {0}")]
    Allocate(#[from] AllocateError),
    /// A calibration did not come to its end.
    #[cfg(feature = "calibrate")]
    #[error(transparent)]
    Calibrate(Box<CalibrateError>),
    /// The scratch file of encoded tensors is no use.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blob cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no room for the blob.
    #[error("{}: the blob takes {needed} bytes, and {of} than {room} bytes", path.display())]
    Room {
        /// The file.
        path: PathBuf,
        /// Bytes of the blob.
        needed: u64,
        /// Bytes that there may be.
        room: u64,
        /// Whose limit that is.
        of: &'static str,
    },
    /// The bake does not fit the memory it may use.
    #[error(
        "the bake needs {needed} bytes of memory ({parts}), but the limit is {limit}; {advice}"
    )]
    Memory {
        /// Bytes of its largest stage, with the process.
        needed: u64,
        /// Its stages.
        parts: String,
        /// What was allowed.
        limit: u64,
        /// What would do.
        advice: String,
    },
    /// The output is there and is nothing that a blob may replace.
    #[error("{}: expected a blob or nothing there, found {found}; it is left as it is", path.display())]
    Occupied {
        /// What is there.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Another bake has the same output.
    #[error(
        "{}: {holder} is baking to this output; wait for it, or choose another output",
        path.display()
    )]
    Claimed {
        /// The output.
        path: PathBuf,
        /// Which process it is.
        holder: String,
    },
    /// Stopped from outside.
    #[error("interrupted: nothing was written")]
    Interrupted,
}

impl From<SourceError> for BakeError {
    fn from(error: SourceError) -> Self {
        Self::Checkpoint(error.into())
    }
}

#[cfg(feature = "calibrate")]
impl From<CalibrateError> for BakeError {
    fn from(error: CalibrateError) -> Self {
        match error {
            CalibrateError::Interrupted => Self::Interrupted,
            error => Self::Calibrate(Box::new(error)),
        }
    }
}
