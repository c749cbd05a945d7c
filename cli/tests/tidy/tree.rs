//! The repository's files, and how a rule reports what breaks it.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are not the project's own writing, by the end of their paths.
const SKIPPED: [&str; 5] = ["target", ".git", "models/cache", "data", "__pycache__"];

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every path below the root whose name has one of these endings, relative to the root.
pub fn paths(endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            if path.is_dir() {
                if !SKIPPED.iter().any(|skipped| path.ends_with(skipped)) {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let short = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
                found.push(short);
            }
        }
    }
    assert!(!found.is_empty(), "no {endings:?} files below {}", root().display());
    found.sort();
    found
}

/// Every file below the root with one of these endings, as (path from the root, text).
pub fn files(endings: &[&str]) -> Vec<(String, String)> {
    let read = |path: String| {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        (path, text)
    };
    paths(endings).into_iter().map(read).collect()
}

/// Fails with one line for each broken place.
#[track_caller]
pub fn report(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}
