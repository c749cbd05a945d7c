//! How large a committed file may be.

use std::fs;

use crate::tree::{paths, report, root};

/// Largest file, in bytes: a clone stays small, and a reader can open everything.
const BYTES_MAX: u64 = 256 << 10;

/// Files that are larger, each with a limit of its own: weights, and what they are compared with.
const LARGE: [(&str, u64); 3] = [
    ("models/carve/learned.safetensors", 8 << 20),
    ("models/crumb/model.safetensors", 24 << 20),
    ("models/crumb/reference.safetensors", 1 << 20),
];

/// Largest reference checkpoint, and all of them with what they are compared with.
const FIXTURE_BYTES_MAX: u64 = 3 << 19;
const FIXTURES_BYTES_MAX: u64 = 12_000_000;

/// Endings of files that `.gitignore` names.
const IGNORED: [&str; 2] = [".tack", ".pyc"];

fn bytes_max(path: &str) -> u64 {
    if path.starts_with("models/fixtures/") && path.ends_with("/model.safetensors") {
        return FIXTURE_BYTES_MAX;
    }
    LARGE.iter().find(|(own, _)| *own == path).map_or(BYTES_MAX, |(_, most)| *most)
}

#[test]
fn files_are_small() {
    let mut broken = Vec::new();
    for path in paths(&[""]) {
        if IGNORED.iter().any(|ending| path.ends_with(ending)) {
            continue;
        }
        let bytes = fs::metadata(root().join(&path)).unwrap().len();
        let most = bytes_max(&path);
        if bytes > most {
            broken.push(format!("{path}: {bytes} bytes, the most is {most}"));
        }
    }
    report(&broken);
}

#[test]
fn all_reference_checkpoints_together_are_small() {
    let paths = paths(&[".safetensors", ".json"]).into_iter();
    let fixtures = paths.filter(|path| path.starts_with("models/fixtures/"));
    let bytes: u64 = fixtures.map(|path| fs::metadata(root().join(path)).unwrap().len()).sum();
    assert!(bytes <= FIXTURES_BYTES_MAX, "{bytes} bytes, the most is {FIXTURES_BYTES_MAX}");
}

#[test]
fn large_files_are_there() {
    for (path, _) in LARGE {
        assert!(root().join(path).is_file(), "{path} is listed as large, and absent");
    }
}
