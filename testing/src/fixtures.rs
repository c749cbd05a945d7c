//! Where the models of the tests are: those of the repository, and one that is fetched.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Set to 1, tests that need the reference checkpoints pass without them.
const SKIP_FIXTURES: &str = "HARDTACK_SKIP_FIXTURES";
/// Set to 1, tests that need a fetched model fail without it.
const REQUIRE_MODELS: &str = "HARDTACK_REQUIRE_MODELS";

/// Every family with a reference checkpoint.
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

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
}

/// The folder of the reference checkpoints.
///
/// # Panics
///
/// They are absent, and `HARDTACK_SKIP_FIXTURES=1` does not say that tests may do without.
pub fn fixtures() -> Option<PathBuf> {
    let folder = models().join("fixtures");
    if folder.join(FAMILIES[0]).is_dir() {
        return Some(folder);
    }
    assert!(is_set(SKIP_FIXTURES), "{} has no checkpoints: see make.py there", folder.display());
    skipped(&folder, "nothing is compared with the reference");
    None
}

/// The reference checkpoint of a family.
pub fn fixture(family: &str) -> Option<PathBuf> {
    Some(fixtures()?.join(family))
}

/// The model that is shipped.
pub fn crumb() -> PathBuf {
    models().join("crumb")
}

/// SmolLM2 135M Instruct as GGUF, or none, loudly, where it was not fetched.
///
/// # Panics
///
/// It is absent, and `HARDTACK_REQUIRE_MODELS=1`.
pub fn smollm2() -> Option<PathBuf> {
    let path = models().join("cache/smollm2-135m-instruct.gguf");
    if path.is_file() {
        return Some(path);
    }
    assert!(!is_set(REQUIRE_MODELS), "{}: see examples/fetch-smollm2.sh", path.display());
    skipped(&path, "no real model is tested");
    None
}

/// A public file of others, which the repository may not have: below the folder `HARDTACK_DATA`.
/// The tests that read one are ignored: `cargo test -- --ignored` runs them.
pub fn data(path: &str) -> PathBuf {
    let folder = std::env::var_os("HARDTACK_DATA").expect("HARDTACK_DATA is the folder of data");
    let path = PathBuf::from(folder).join(path);
    assert!(path.exists(), "{} is absent", path.display());
    path
}

/// Says that something a test needs is absent, past the test runner, which captures what a passing
/// test prints by macros.
pub fn skipped(missing: &Path, consequence: &str) {
    let line = format!("SKIPPED: {} is not at hand: {consequence}\n", missing.display());
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// A folder for what test programs build once and keep: cargo's own for this purpose.
pub fn scratch() -> PathBuf {
    // target/debug/deps/program, and target/tmp beside them.
    let program = std::env::current_exe().expect("a path of this program");
    let folder = program.ancestors().nth(3).expect("cargo's folders").join("tmp");
    std::fs::create_dir_all(&folder).expect("a folder to write to");
    folder
}
