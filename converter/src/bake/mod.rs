//! A checkpoint into a blob: what stands where is decided first, then tensor after tensor is read,
//! encoded and written.

#[cfg(feature = "calibrate")]
mod allocation;
mod assignment;
#[cfg(feature = "calibrate")]
mod calibrated;
#[cfg(feature = "calibrate")]
mod claim;
mod draft;
mod error;
mod kinds;
#[cfg(feature = "calibrate")]
mod kv;
mod partial_file;
mod plan;
mod precision;
mod prepare;
pub(crate) mod provenance;
#[cfg(feature = "calibrate")]
mod refine;
#[cfg(feature = "calibrate")]
mod round;
#[cfg(feature = "calibrate")]
mod target;
mod write;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use hardtack_models::LeftOut;

use crate::source::Checkpoint;

#[cfg(feature = "calibrate")]
pub use allocation::{Allocation, Factors, Method, Order, Target, allocate};
pub use assignment::{Assignment, LayerAssignment, Part};
#[cfg(feature = "calibrate")]
pub use calibrated::{
    CalibrateOptions, CalibratedBake, Course, PartBytes, Stage, Step, bake_calibrated,
};
use draft::Draft;
pub use error::BakeError;
use partial_file::PartialFile;
#[cfg(feature = "calibrate")]
pub(crate) use partial_file::{beside, replace};
pub use plan::BakePlan;
pub use precision::Precision;
pub use prepare::{BrokenChat, Choices, Review, TextSource, text_sections};
pub(crate) use prepare::{recipe_of, text_of};
pub use provenance::{
    Allocated, CalibrationText, EarlierRound, Factor, GateBond, HeldOut, KvAbout, STARVED_TOKENS,
};
#[cfg(feature = "calibrate")]
pub use refine::Refined;

/// How a checkpoint is baked.
#[derive(Debug)]
pub struct BakeOptions<'a> {
    /// What is taken from the checkpoint, and what is put up with.
    pub choices: Choices<'a>,
    /// How precise the weights are.
    pub precision: Precision,
    /// Encoding of embeddings and head, where it is not left to `precision`.
    pub head: Option<hardtack_format::Encoding>,
    /// The texts that the choices above were calibrated on; none if none was read. The blob names
    /// them for good.
    pub calibration: &'a [CalibrationText],
    /// Most bytes of memory that it may take: weights are read in smaller pieces and by fewer
    /// threads where that helps, and a bake that cannot keep to it is refused before it begins.
    pub memory_max: Option<u64>,
    /// Set from elsewhere to stop: nothing is left behind then.
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
    pub head: hardtack_format::Encoding,
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

/// Bakes the checkpoint at `input` into a blob at `output`, which appears complete or not at all.
///
/// # Errors
/// The checkpoint cannot be read or understood, the blob cannot be written, or the budget is too
/// small.
pub fn bake(
    input: &Path,
    output: &Path,
    options: &BakeOptions<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Baked, BakeError> {
    let checkpoint = Checkpoint::open(input)?;
    let recipe = recipe_of(&checkpoint, options.choices.unused)?;
    kinds::check(&checkpoint, &recipe)?;
    let plan = BakePlan::new(&checkpoint, &recipe, None, options.memory_max)?;
    let text = text_of(&checkpoint, &recipe, &options.choices)?;
    // Whatever can be refused is refused before anything long is begun.
    let files = provenance::files(&checkpoint);
    let unread = provenance::unread(&files)?;
    let file_bytes = Draft::new(&recipe, &text, &unread, options)?.layout.file_bytes();
    let output_file = PartialFile::create(output)?;
    output_file.expect_room(file_bytes)?;

    let total_bytes = unread.iter().map(|file| file.bytes).sum();
    let sources = provenance::hash_files(&files, options.stop, &mut |done_bytes| {
        progress(Progress { done_bytes, total_bytes, part: "reading the sources" });
    })?;
    let draft = Draft::new(&recipe, &text, &sources, options)?;
    write::write(&checkpoint, &draft, None, &plan, output_file, options.stop, progress)?;
    Ok(Baked {
        family: recipe.family,
        layers: draft.assignment.layers_name(),
        head: draft.assignment.head,
        file_bytes,
        plan,
        tensors: recipe.stored_tensors(),
        left_out: recipe.left_out(),
        warnings: text
            .warnings
            .iter()
            .cloned()
            .chain(kinds::second_rounding(&checkpoint, &recipe))
            .collect(),
    })
}
