//! A bake without calibration: one encoding for all matrices of the layers.

use std::path::Path;

use super::draft::Draft;
use super::error::BakeError;
use super::kinds;
use super::options::{BakeOptions, Baked, Progress};
use super::partial_file::PartialFile;
use super::plan::BakePlan;
use super::text::text_of;
use super::write::write;
use crate::recipe::recipe_of;
use crate::source::{self, Checkpoint};

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
    let files = source::files(&checkpoint);
    let unread = source::unread(&files)?;
    let file_bytes = Draft::new(&recipe, &text, &unread, options)?.layout.file_bytes();
    let output_file = PartialFile::create(output)?;
    output_file.expect_room(file_bytes)?;

    let total_bytes = unread.iter().map(|file| file.bytes).sum();
    let sources = source::hash_files(&files, options.stop, &mut |done_bytes| {
        progress(Progress { done_bytes, total_bytes, part: "reading the sources" });
    })?;
    let sources = sources.ok_or(BakeError::Interrupted)?;
    let draft = Draft::new(&recipe, &text, &sources, options)?;
    write(&checkpoint, &draft, None, &plan, output_file, options.stop, progress)?;
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
