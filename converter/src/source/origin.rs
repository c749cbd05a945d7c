//! The files that a blob is made from, by name, length and hash.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, Form};
use super::error::SourceError;

/// A file that a blob was baked from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Its name without folders.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3 hash in hexadecimal digits.
    pub blake3: String,
}

/// A text that a bake's choices were calibrated on. A text with this hash is never one to judge the
/// blob by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationText {
    /// What the text stands for, such as `code` or `wikipedia-en`.
    pub domain: String,
    /// The file's name without folders.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3 hash in hexadecimal digits.
    pub blake3: String,
}

/// Files beside the weights that a blob's text comes from, where a folder has them.
const TEXT_FILES: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"];

/// Everything that is baked from.
pub fn files(checkpoint: &Checkpoint) -> Vec<PathBuf> {
    let mut files = checkpoint.files().to_vec();
    if let Form::HuggingFace { folder, .. } = checkpoint.form() {
        files.extend(TEXT_FILES.iter().map(|name| folder.join(name)).filter(|path| path.is_file()));
    }
    files
}

/// The same files before they are read: the length of what a blob says about them is known then.
pub fn unread(paths: &[PathBuf]) -> Result<Vec<Origin>, SourceError> {
    let unread = |path: &PathBuf| {
        let length = std::fs::metadata(path).map_err(|source| failed(path, source))?.len();
        Ok(Origin {
            name: name(path),
            bytes: length,
            blake3: blake3::Hash::from_bytes([0; 32]).to_hex().to_string(),
        })
    };
    paths.iter().map(unread).collect()
}

/// Reads every file once; none if `stop` was set. `progress` gets the bytes read so far.
pub fn hash_files(
    paths: &[PathBuf],
    stop: &AtomicBool,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<Vec<Origin>>, SourceError> {
    let mut total = 0;
    let mut buffer = vec![0; 1 << 20];
    let mut sources = Vec::new();
    for path in paths {
        let mut file = File::open(path).map_err(|source| failed(path, source))?;
        let mut hasher = blake3::Hasher::new();
        let mut bytes = 0;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let count = file.read(&mut buffer).map_err(|source| failed(path, source))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            bytes += count as u64;
            total += count as u64;
            progress(total);
        }
        sources.push(Origin {
            name: name(path),
            bytes,
            blake3: hasher.finalize().to_hex().to_string(),
        });
    }
    Ok(Some(sources))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn failed(path: &Path, source: std::io::Error) -> SourceError {
    SourceError::Io { file: path.display().to_string(), source }
}
