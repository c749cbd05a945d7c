//! What the fuzz targets share: a memory limit, a valid blob to start from, and a reader that
//! touches everything.

use std::alloc::System;
use std::fs;
use std::path::{Path, PathBuf};

use cap::Cap;
use hardtack_format::{Blob, FormatError, Network};

#[path = "../../format/tests/blob/build.rs"]
pub mod build;
#[path = "../../format/tests/blob/seal.rs"]
pub mod seal;

/// Most memory that Rust code may hold at once; an allocation above it aborts, which libFuzzer
/// reports.
const HEAP_BYTES_MAX: usize = 128 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, HEAP_BYTES_MAX);

/// Links the allocator with its limit into a target that uses nothing else of this library.
pub fn keep_limit() {
    assert!(ALLOCATOR.limit() <= HEAP_BYTES_MAX);
}

/// A file for readers that take a path, in the folder for temporary files, which the script that
/// runs the targets removes.
pub struct TempFile {
    path: PathBuf,
}

impl TempFile {
    /// A file of this process alone; its name may begin with a folder's.
    pub fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("hardtack-fuzz-{}", std::process::id())).join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for temporary files");
        fs::write(&path, []).expect("room for a temporary file");
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces its content.
    pub fn write(&self, bytes: &[u8]) {
        fs::write(&self.path, bytes).expect("room for a temporary file");
    }
}

/// Reads a blob as a runtime would, and then every byte that its records lead to.
pub fn read_blob(file: &[u8]) -> Result<(), FormatError> {
    let blob = Blob::open(file)?;
    for section in blob.sections() {
        assert_eq!(blob.section(section.key), Some(section));
        assert_eq!(blob.section_bytes(&section).len() as u64, section.bytes);
        for (_, tensor) in blob.tensors(&section) {
            assert_eq!(blob.tensor_bytes(&tensor).len() as u64, tensor.bytes);
            assert!(
                tensor.offset >= section.offset
                    && tensor.offset + tensor.bytes <= section.offset + section.bytes
            );
        }
    }
    let bound = Network::bind(&blob);
    let verified = blob.verify();
    if let Ok(network) = bound.as_ref() {
        let again = network.spec.to_bytes();
        let key = hardtack_format::SectionKey::only(hardtack_format::SectionKind::Spec);
        let record = blob.section(key).expect("bind has found it");
        assert_eq!(again, blob.section_bytes(&record), "a spec has one form only");
    }
    bound.map(|_| ()).and(verified)
}
