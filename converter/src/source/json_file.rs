//! Small JSON files of a folder.

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::error::{SourceError, one_line};
use super::file::SourceFile;

/// A configuration has some kilobytes. As values JSON takes up to 85 times its own bytes.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// A file; none where there is none.
pub fn open_if_present(path: &Path) -> Result<Option<SourceFile>, SourceError> {
    match SourceFile::open(path) {
        Ok(source) => Ok(Some(source)),
        Err(SourceError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The contents of a file of at most `bytes_max`.
pub fn parse_json<T: DeserializeOwned>(
    source: &SourceFile,
    bytes_max: u64,
) -> Result<T, SourceError> {
    let bytes = source.read_all(bytes_max)?;
    serde_json::from_slice(&bytes).map_err(|error| SourceError::Json {
        file: source.label.clone(),
        detail: one_line(&error.to_string()),
    })
}
