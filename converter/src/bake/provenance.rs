//! What a blob says about its own making: sources with their hashes, settings, version. No time, so that the same bake
//! gives the same bytes.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::error::BakeError;
use super::precision::Choice;

/// A file that was baked from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceFile {
    /// Its name without folders.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3 hash in hexadecimal digits.
    pub blake3: String,
}

#[derive(Serialize)]
struct Provenance<'a> {
    baked_by: &'static str,
    family: &'a str,
    layers: &'a str,
    head: &'a str,
    sources: &'a [SourceFile],
}

/// Reads every file once.
pub fn hash_files(paths: &[PathBuf], stop: &AtomicBool) -> Result<Vec<SourceFile>, BakeError> {
    paths.iter().map(|path| hash_file(path, stop)).collect()
}

fn hash_file(path: &PathBuf, stop: &AtomicBool) -> Result<SourceFile, BakeError> {
    let failed = |source| BakeError::Write { path: path.clone(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(BakeError::Interrupted);
        }
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(SourceFile { name, bytes, blake3: hasher.finalize().to_hex().to_string() })
}

/// The section's bytes.
pub fn section(family: &str, choice: &Choice, sources: &[SourceFile]) -> Vec<u8> {
    let provenance = Provenance {
        baked_by: concat!("hardtack ", env!("CARGO_PKG_VERSION")),
        family,
        layers: choice.layers.name(),
        head: choice.head.name(),
        sources,
    };
    serde_json::to_vec_pretty(&provenance).expect("plain strings and numbers always serialize")
}
