//! What the tests of the whole program share: the fixtures and how they are baked.
#![allow(dead_code, reason = "every test uses a part")]

#[cfg(feature = "calibrate")]
pub mod calibrated;
pub mod checkpoint;
pub mod devices;
pub mod peak;
#[macro_use]
pub mod families;
pub mod program;
pub mod reference;
pub mod small;
pub mod synthetic;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hardtack::Session;
use hardtack::format::Encoding;
use hardtack_converter::{BakeOptions, Baked, Choices, Precision, bake};

/// The reference checkpoints, or nothing, loudly, where they are not at hand.
pub fn fixtures() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    if folder.is_dir() {
        return Some(folder);
    }
    skipped(&folder, "nothing is compared with the reference");
    None
}

/// The model that is shipped.
pub fn crumb() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/crumb")
}

/// Says that something a test needs is absent, past the test runner, which keeps to itself what a
/// passing test prints by macros.
pub fn skipped(missing: &Path, consequence: &str) {
    let line = format!("SKIPPED: {} is not at hand: {consequence}\n", missing.display());
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Every family there is a fixture of.
pub const FAMILIES: [&str; 10] = [
    "llama",
    "llama-rope3",
    "qwen3",
    "mixtral",
    "olmoe",
    "qwen2_moe",
    "qwen3_moe",
    "granitemoe",
    "deepseek_v2",
    "gpt_oss",
];

/// Bakes a checkpoint at one encoding for everything.
pub fn bake_at(input: &Path, output: &Path, encoding: Encoding) -> Baked {
    let stop = AtomicBool::new(false);
    let precision = Precision::Uniform(encoding);
    let options = BakeOptions {
        choices: Choices::default(),
        precision,
        head: Some(encoding),
        calibration: &[],
        memory_max: None,
        stop: &stop,
    };
    bake(input, output, &options, &mut |_| ())
        .unwrap_or_else(|error| panic!("{}: {error}", input.display()))
}

/// Feeds tokens in pieces of these sizes, the last one repeated, and gives all logits.
pub fn logits_in_pieces(session: &mut Session, tokens: &[u32], pieces: &[usize]) -> Vec<f32> {
    let mut all = Vec::new();
    let mut rest = tokens;
    let mut sizes = pieces.iter().chain(std::iter::repeat(pieces.last().unwrap()));
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        session.feed_each(piece, |_, logits| all.extend_from_slice(logits)).unwrap();
        rest = after;
    }
    all
}
