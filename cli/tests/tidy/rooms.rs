//! Imports between rooms: who may depend on whom, and why on a third party.

use std::fs;

use crate::tree::{report, root};

/// Who may import whom: a room's folder, and the packages it may depend on besides its own
/// dev-dependencies. `hardtack*` names are rooms; the rest are third parties, each with a line in
/// ARCHITECTURE.md.
const IMPORTS: [(&str, &[&str]); 12] = [
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
    (
        "testing",
        &[
            "hardtack",
            "hardtack-converter",
            "hardtack-kernels-cuda",
            "safetensors",
            "serde",
            "serde_json",
            "tempfile",
        ],
    ),
];

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
