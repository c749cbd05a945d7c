//! How a bake goes, how far it is, and what it made.

use std::fmt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use hardtack_format::Encoding;
use hardtack_models::{LeftOut, Unused};

use super::plan::BakePlan;
use super::precision::Precision;
use crate::source::CalibrationText;
use crate::vocabulary::TextSections;

/// What a bake takes from a checkpoint, and what it puts up with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choices<'a> {
    /// Where tokenizer and chat template come from.
    pub text: TextSource<'a>,
    /// What becomes of what would break a conversation.
    pub broken_chat: BrokenChat,
    /// What becomes of tensors without a place in the network.
    pub unused: Unused,
    /// Who looks at the text before weights are read.
    pub review: Option<Review<'a>>,
}

/// Where a blob's text comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextSource<'a> {
    /// The checkpoint's own.
    #[default]
    Checkpoint,
    /// A folder with a `tokenizer.json`, or that file; a chat template that is not there is the
    /// checkpoint's.
    Elsewhere(&'a Path),
    /// None: the blob speaks token ids only.
    None,
}

/// What becomes of what would break a conversation, such as a named end token that the vocabulary
/// does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BrokenChat {
    /// It is an error.
    #[default]
    Refuse,
    /// It is a warning.
    Allow,
}

/// Who looks at the text of a blob before weights are read: adds to its problems and warnings,
/// marks its markers.
#[derive(Clone, Copy)]
pub struct Review<'a>(pub &'a dyn Fn(&mut TextSections));

impl fmt::Debug for Review<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Review")
    }
}

/// How a checkpoint is baked.
#[derive(Debug)]
pub struct BakeOptions<'a> {
    /// What is taken from the checkpoint, and what is put up with.
    pub choices: Choices<'a>,
    /// How precise the weights are.
    pub precision: Precision,
    /// Encoding of embeddings and head, where it is not left to `precision`.
    pub head: Option<Encoding>,
    /// The texts that the choices above were calibrated on; none if none was read. The blob names
    /// them for good.
    pub calibration: &'a [CalibrationText],
    /// Most bytes of memory that it may take: weights are read in smaller pieces and by fewer
    /// threads where that helps, and a bake that cannot keep to it is refused before it begins.
    pub memory_max: Option<u64>,
    /// Set from elsewhere to stop: nothing is left then.
    pub stop: &'a AtomicBool,
}

/// What a bake made.
#[derive(Clone, Debug)]
pub struct Baked {
    /// The family of the checkpoint.
    pub family: &'static str,
    /// Encoding of the layers' and experts' matrices.
    pub layers: &'static str,
    /// Encoding of embeddings and head.
    pub head: Encoding,
    /// Length of the blob.
    pub file_bytes: u64,
    /// What the bake took of memory at most.
    pub plan: BakePlan,
    /// Stored tensors that the blob is made of.
    pub tensors: usize,
    /// Stored tensors that it is not made of, by kind.
    pub left_out: Vec<LeftOut>,
    /// What the person who bakes should know, one line each.
    pub warnings: Vec<String>,
}

/// How far a bake is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Bytes written.
    pub done_bytes: u64,
    /// Length of the whole blob.
    pub total_bytes: u64,
    /// What is being written.
    pub part: &'a str,
}
