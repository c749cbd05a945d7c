//! What the fuzz targets share: a memory limit, a valid blob to start from, and a reader that touches everything.

use std::alloc::System;

use cap::Cap;
use hardtack_format::{Blob, FormatError, Network};

#[path = "../../format/tests/blob/build.rs"]
pub mod build;
#[path = "../../format/tests/blob/seal.rs"]
pub mod seal;

/// Most memory that Rust code may hold at once; an allocation above it aborts, which libFuzzer reports.
const HEAP_BYTES_MAX: usize = 128 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, HEAP_BYTES_MAX);

/// Reads a blob as a runtime would, and then every byte that its records lead to.
pub fn read_blob(file: &[u8]) -> Result<(), FormatError> {
    let blob = Blob::open(file)?;
    for section in blob.sections() {
        assert_eq!(blob.section(section.key), Some(section));
        assert_eq!(blob.section_bytes(&section).len() as u64, section.bytes);
        for (_, tensor) in blob.tensors(&section) {
            assert_eq!(blob.tensor_bytes(&tensor).len() as u64, tensor.bytes);
            assert!(tensor.offset >= section.offset && tensor.offset + tensor.bytes <= section.offset + section.bytes);
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
