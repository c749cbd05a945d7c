//! A checkpoint's recipe, and the rows of its tensors: reader and families together, with one
//! error.

use std::path::PathBuf;

use hardtack_format::Role;
use hardtack_models::{FamilyError, LoadError, Recipe, TensorSource, Unused, recipe_with};

use crate::bridge::settings;
use crate::source::{Checkpoint, SourceError};

/// Rows of the embeddings that are compared with a head's at once.
const ROWS_AT_ONCE: usize = 1024;

/// Why a checkpoint cannot be used. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It is of no known family, or wants what is not supported.
    #[error("{}: {source}", input.display())]
    Family {
        /// The checkpoint.
        input: PathBuf,
        /// What is not known.
        source: FamilyError,
    },
    /// A tensor is not what it was when the checkpoint was opened.
    #[error("{}: {source}", input.display())]
    Load {
        /// The checkpoint.
        input: PathBuf,
        /// The tensor.
        source: Box<LoadError<SourceError>>,
    },
}

/// The recipe of a checkpoint, whose head and embeddings are compared where both are stored and
/// said to be one.
///
/// # Errors
/// The family is not known, or a tensor cannot be read.
pub fn recipe_of(checkpoint: &Checkpoint, unused: Unused) -> Result<Recipe, CheckpointError> {
    let mut recipe = recipe_with(settings(checkpoint), checkpoint, unused).map_err(|source| {
        CheckpointError::Family { input: checkpoint.path().to_owned(), source }
    })?;
    let embedding = recipe.globals.iter().find(|tensor| tensor.role == Role::Embedding);
    if let (Some(head), Some(embedding)) = (&recipe.head_beside, embedding)
        && !are_same(checkpoint, head, embedding)?
    {
        let name = head.names().join(", ");
        recipe.warnings.push(format!(
            "the configuration says that the embeddings are the head \
             (tie_word_embeddings), but {name} is stored and differs from them: it is the head"
        ));
        recipe.use_stored_head();
    }
    Ok(recipe)
}

fn are_same(
    checkpoint: &Checkpoint,
    head: &TensorSource,
    embedding: &TensorSource,
) -> Result<bool, CheckpointError> {
    for first in (0..embedding.rows as usize).step_by(ROWS_AT_ONCE) {
        let [own, other] =
            [head, embedding].map(|tensor| load_rows(checkpoint, tensor, first, ROWS_AT_ONCE));
        if own? != other? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Rows `first..first + count` of a tensor, fewer at the end, as floats.
///
/// # Errors
/// They cannot be read.
pub fn load_rows(
    checkpoint: &Checkpoint,
    tensor: &TensorSource,
    first: usize,
    count: usize,
) -> Result<Vec<f32>, CheckpointError> {
    tensor.load_rows(checkpoint, first, count).map_err(|error| match error {
        // The reader names file and tensor itself.
        LoadError::Read { error, .. } => CheckpointError::Source(error),
        error => {
            let input = checkpoint.path().to_owned();
            CheckpointError::Load { input, source: Box::new(error) }
        }
    })
}
