//! Small models that the program itself bakes for the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hardtack_testing::checkpoint::Checkpoint;
use hardtack_testing::fixtures;

use crate::program::run;

/// A small model that speaks, though it has nothing to say: the llama fixture with the byte-level
/// tokenizer.
pub fn speaking_blob(folder: &Path) -> Option<PathBuf> {
    let checkpoint = Checkpoint::of("llama")?;
    checkpoint.save().save_tokenizer();
    let blob = folder.join("speaking.tack");
    let outcome = run(&[&"bake", &checkpoint.path(), &"-o", &blob]).succeeded();
    assert!(!outcome.err.contains("token ids only"), "{outcome:#?}");
    Some(blob)
}

/// A small model made from nothing, which babbles without end; baked once for a test program.
pub fn babbling() -> &'static Path {
    static BLOB: OnceLock<PathBuf> = OnceLock::new();
    BLOB.get_or_init(|| {
        let program = std::env::current_exe().unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(program.file_name().unwrap());
        fs::create_dir_all(&folder).unwrap();
        let checkpoint = Checkpoint::made();
        checkpoint.save().save_tokenizer();
        let blob = folder.join("babble.tack");
        run(&[&"bake", &checkpoint.path(), &"-o", &blob, &"--bits", &"8"]).succeeded();
        blob
    })
}

/// The llama fixture as a blob that speaks token ids only.
pub fn silent_blob(folder: &Path) -> Option<PathBuf> {
    let blob = folder.join("silent.tack");
    run(&[&"bake", &fixtures()?.join("llama"), &"-o", &blob]).succeeded();
    Some(blob)
}
