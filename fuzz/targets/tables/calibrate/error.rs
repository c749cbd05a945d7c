//! The errors that the reader of tables makes.

use std::path::PathBuf;

/// As in the converter.
#[allow(dead_code, reason = "shown when an assertion fails")]
#[derive(Debug)]
pub enum CalibrateError {
    Read { path: PathBuf, source: std::io::Error },
    Write { path: PathBuf, source: std::io::Error },
    Text { domain: String, expected: String, found: String },
    Settings { expected: String, found: String },
    File { path: PathBuf, field: String, expected: String, found: String },
}
