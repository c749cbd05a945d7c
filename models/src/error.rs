//! What can be wrong with a checkpoint, in one line each: the setting or tensor, what was expected
//! and what was found.

use hardtack_format::{FormatError, Role};
use thiserror::Error;

/// A checkpoint that no family here describes.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FamilyError {
    /// No family has this name.
    #[error("{key} is {found:?}, which is not supported; known are {known}")]
    UnknownFamily {
        /// The setting that names the family.
        key: &'static str,
        /// Its value.
        found: String,
        /// All names that would have done.
        known: String,
    },
    /// A setting without which the network is not known.
    #[error("setting {key} is missing")]
    MissingSetting {
        /// The setting.
        key: String,
    },
    /// A setting of the wrong type or out of its range.
    #[error("setting {key}: expected {expected}, found {found}")]
    BadSetting {
        /// The setting.
        key: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A setting that wants something the runtime does not do.
    #[error("setting {key} is {found}, which is not supported; supported: {supported}")]
    Unsupported {
        /// The setting.
        key: String,
        /// Its value.
        found: String,
        /// What would have done.
        supported: &'static str,
    },
    /// A tensor that the settings want is absent.
    #[error("tensor {tensor} ({role}) is missing; expected shape {expected:?}")]
    MissingTensor {
        /// Its name.
        tensor: String,
        /// What it is for.
        role: Role,
        /// The shape it should have, row-major.
        expected: Vec<usize>,
    },
    /// A tensor's shape differs from what the settings say.
    #[error("tensor {tensor} ({role}): expected shape {expected:?}, found {found:?}")]
    TensorShape {
        /// Its name.
        tensor: String,
        /// What it is for.
        role: Role,
        /// The shape it should have, row-major.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A tensor that has no place in this network.
    #[error("tensor {tensor} {found:?} has no place in a {family} network with these settings")]
    UnusedTensor {
        /// Its name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The family.
        family: &'static str,
    },
    /// The network is outside the limits of the format.
    #[error("the network does not fit the format: {0}")]
    Format(FormatError),
}

/// A tensor that could not be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// The checkpoint has no such tensor.
    #[error("tensor {tensor} is missing; expected shape {expected:?}")]
    Missing {
        /// Its name.
        tensor: String,
        /// The shape it should have, row-major.
        expected: Vec<usize>,
    },
    /// The tensor in the checkpoint has another shape than the recipe was made for.
    #[error("tensor {tensor}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// Its name.
        tensor: String,
        /// The shape it should have, row-major.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// The reader gave another number of values than were wanted.
    #[error("tensor {tensor}: asked for {expected} values, got {found}")]
    Length {
        /// Its name.
        tensor: String,
        /// Values wanted.
        expected: usize,
        /// Values read.
        found: usize,
    },
    /// The reader failed.
    #[error("tensor {tensor}: {error}")]
    Read {
        /// Its name.
        tensor: String,
        /// What the reader says.
        error: E,
    },
}
