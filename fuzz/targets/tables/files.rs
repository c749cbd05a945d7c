//! What the reader of tables needs of the converter's files.

use std::io;
use std::path::Path;

/// Puts bytes where a file is.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    std::fs::write(path, bytes)
}
