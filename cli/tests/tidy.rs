//! Holds the house rules: who may import whom, where `unsafe` may stand, how long a file may be.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, in lines.
const LINES_MAX: usize = 500;

/// Who may import whom: a room's folder, and the packages it may depend on besides its own
/// dev-dependencies. `hardtack*` names are rooms; the rest are third parties, each with a line in
/// ARCHITECTURE.md.
const IMPORTS: [(&str, &[&str]); 11] = [
    ("format", &["blake3"]),
    ("kernels", &["half", "hardtack-format", "wide"]),
    ("kernels-avx", &["half", "hardtack-format", "hardtack-kernels"]),
    ("kernels-neon", &["half", "hardtack-format", "hardtack-kernels"]),
    ("kernels-cuda", &["cudarc", "hardtack-format", "hardtack-kernels"]),
    (
        "runtime",
        &[
            "aho-corasick",
            "blake3",
            "bytemuck",
            "chrono",
            "half",
            "hardtack-format",
            "hardtack-kernels",
            "hardtack-kernels-avx",
            "hardtack-kernels-cuda",
            "hardtack-kernels-neon",
            "hardtack-tokenizer",
            "heapless",
            "memmap2",
            "rand_core",
            "rand_pcg",
            "serde_json",
            "thiserror",
            "tokenizers",
        ],
    ),
    ("tokenizer", &["serde", "serde_json", "thiserror", "tokenizers"]),
    ("models", &["hardtack-format", "serde_json", "thiserror"]),
    (
        "converter",
        &[
            "blake3",
            "candle-core",
            "half",
            "hardtack-format",
            "hardtack-kernels",
            "hardtack-models",
            "hardtack-tokenizer",
            "ndarray",
            "rayon",
            "rustix",
            "safetensors",
            "serde",
            "serde_json",
            "tempfile",
            "thiserror",
            "tokenizers",
        ],
    ),
    (
        "cli",
        &[
            "anyhow",
            "blake3",
            "bzip2",
            "clap",
            "clap_complete",
            "clap_mangen",
            "csv",
            "ctrlc",
            "hardtack",
            "hardtack-converter",
            "indicatif",
            "libc",
            "rand_core",
            "rand_pcg",
            "regex",
            "rustix",
            "rustyline",
            "serde",
            "serde-transcode",
            "serde_json",
            "signal-hook",
            "tempfile",
        ],
    ),
    ("examples", &["anyhow", "hardtack"]),
];

/// Folders whose files may contain `unsafe`.
const UNSAFE_ROOMS: [&str; 6] = [
    "cli/src/os.rs",
    "kernels-avx/src/",
    "kernels-cuda/src/driver/",
    "kernels-neon/src/",
    "runtime/src/backend/pool.rs",
    "runtime/src/os/",
];

/// Folders that are not the project's own writing.
const SKIPPED: [&str; 4] = ["target", ".git", "cache", "data"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file below the root with this ending, as (path from the root, text).
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            if path.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let short = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
                found.push((short, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no {endings:?} files below {}", root().display());
    found.sort();
    found
}

fn report(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Names in the `[dependencies]` tables of a manifest, the target-specific ones included.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]")
                && !line.contains("dev-")
                && !line.contains("build-");
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['.', ' ', '=']).next().unwrap();
            names.push(name.to_owned());
        }
    }
    names
}

#[test]
fn imports_go_one_way() {
    let mut broken = Vec::new();
    for (room, allowed) in IMPORTS {
        let manifest = fs::read_to_string(root().join(room).join("Cargo.toml")).unwrap();
        for name in dependencies(&manifest) {
            if !allowed.contains(&name.as_str()) {
                broken
                    .push(format!("{room}/Cargo.toml: {name} is not in this room's import table"));
            }
        }
    }
    report(&broken);
}

#[test]
fn every_room_is_in_the_table() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.lines().find(|line| line.starts_with("members")).unwrap();
    let mut named: Vec<&str> = members.split('"').skip(1).step_by(2).collect();
    let mut listed: Vec<&str> = IMPORTS.iter().map(|(room, _)| *room).collect();
    named.sort_unstable();
    listed.sort_unstable();
    assert_eq!(named, listed);
}

#[test]
fn every_third_party_has_its_reason() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut broken = Vec::new();
    for (room, allowed) in IMPORTS {
        for name in allowed.iter().filter(|name| !name.starts_with("hardtack")) {
            if !architecture.contains(&format!("`{name}`")) {
                broken.push(format!(
                    "ARCHITECTURE.md: no line about `{name}`, which {room} depends on"
                ));
            }
        }
    }
    report(&broken);
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let mut broken = Vec::new();
    for (path, text) in files(&[".rs"]) {
        if UNSAFE_ROOMS.iter().any(|room| path.starts_with(room)) || path.ends_with("tests/tidy.rs")
        {
            continue;
        }
        // A counting allocator is the one test that cannot be written without.
        if path == "cli/tests/allocations.rs" {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            let code = line.split("//").next().unwrap();
            let words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            if words.into_iter().any(|word| word == "unsafe") {
                broken.push(format!("{path}:{number}: unsafe outside its rooms"));
            }
        }
    }
    report(&broken);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut broken = Vec::new();
    for (path, text) in files(&[".rs", ".cu", ".cuh", ".cpp", ".h"]) {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            broken.push(format!("{path}: {lines} lines, the most is {LINES_MAX}"));
        }
        if !text.starts_with(if path.ends_with(".rs") { "//!" } else { "// " }) {
            broken.push(format!("{path}: the first line does not say what the file is"));
        }
    }
    report(&broken);
}

#[test]
fn the_repository_speaks_of_the_project_alone() {
    // Put together here so that this file does not find itself.
    let absolute = ["/wo", "rk/"].concat();
    let words =
        [absolute, ["/ho", "me/"].concat(), ["crates", ".io"].concat(), ["pypi", ".org"].concat()];
    let mut broken = Vec::new();
    for (path, text) in files(&[".rs", ".md", ".toml", ".py", ".sh", ".cu", ".cuh", ".cpp", ".h"]) {
        for (number, line) in (1..).zip(text.lines()) {
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                broken.push(format!("{path}:{number}: {word}"));
            }
        }
    }
    report(&broken);
}
