//! Where a first input goes.

use std::fs;
use std::io::Result;
use std::path::Path;

/// Writes one input of a target.
pub fn write(folder: &Path, target: &str, name: &str, bytes: &[u8]) -> Result<()> {
    fs::create_dir_all(folder.join(target))?;
    fs::write(folder.join(target).join(name), bytes)
}
