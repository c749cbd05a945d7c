//! JSON as values takes up to 85 times its own bytes. Small files that would take hundreds of
//! megabytes so are refused or read without values.

use std::fs;
use std::path::{Path, PathBuf};

use hardtack::format::{Blob, Layout, SectionKey, SectionKind, SectionPlan, TensorPlan};
use hardtack_testing::checkpoint::Checkpoint;
use hardtack_testing::peak;

use crate::blobs::babbling;
use crate::program::hardtack;

/// The commands below take some tens of MiB beside the JSON.
const PEAK_MAX: u64 = 160 << 20;

/// An object of as many empty names as fit these bytes: the worst there is.
fn empty_names(bytes: usize) -> Vec<u8> {
    [b"{\"\":0".as_slice(), &b",\"\":0".repeat((bytes - 6) / 5), b"}"].concat()
}

/// The small model's blob with another provenance.
fn blob_with_provenance(folder: &Path, provenance: &[u8]) -> PathBuf {
    let bytes = fs::read(babbling()).unwrap();
    let blob = Blob::open(&bytes).unwrap();
    let key = SectionKey::only(SectionKind::Provenance);
    let content = |at: SectionKey| {
        let record = blob.section(at).unwrap();
        if at == key { provenance } else { blob.section_bytes(&record) }
    };
    let plans: Vec<SectionPlan> = blob
        .sections()
        .map(|record| match record.tensor_count {
            0 => SectionPlan::Plain { key: record.key, bytes: content(record.key).len() as u64 },
            _ => {
                let tensors = blob.tensors(&record).map(|(role, tensor)| TensorPlan {
                    role,
                    encoding: tensor.encoding,
                    stack: tensor.stack,
                    rows: tensor.rows,
                    columns: tensor.columns,
                });
                SectionPlan::Tensors { key: record.key, tensors: tensors.collect() }
            }
        })
        .collect();
    let layout = Layout::new(&plans).unwrap();
    let mut file = vec![0; layout.file_bytes() as usize];
    let mut hashes = Vec::new();
    for section in layout.sections() {
        let place = section.offset as usize..(section.offset + section.bytes) as usize;
        file[place.clone()].copy_from_slice(content(section.key));
        hashes.push(*blake3::hash(&file[place]).as_bytes());
    }
    let head = layout.head(&hashes);
    file[..head.len()].copy_from_slice(&head);
    let path = folder.join("grows.tack");
    fs::write(&path, file).unwrap();
    path
}

#[test]
fn a_provenance_is_read_without_values_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (bytes, refused) in [(8 << 20, false), (17 << 20, true)] {
        let blob = blob_with_provenance(folder.path(), &empty_names(bytes));
        for flags in [
            &[&"inspect" as &dyn AsRef<std::ffi::OsStr>, &blob][..],
            &[&"inspect", &blob, &"--json"],
        ] {
            let run = peak::run(&mut hardtack(flags), b"");
            assert_eq!(run.code == Some(0), !refused, "{bytes} bytes: {run:#?}");
            assert!(run.peak < PEAK_MAX, "{bytes} bytes: {run:#?}");
        }
    }
}

#[test]
fn a_configuration_is_small() {
    let checkpoint = Checkpoint::made();
    checkpoint.save();
    let out = checkpoint.file("x.tack");
    for bytes in [1 << 20, 16 << 20] {
        fs::write(checkpoint.file("config.json"), empty_names(bytes)).unwrap();
        let run = peak::run(&mut hardtack(&[&"bake", &checkpoint.path(), &"-o", &out]), b"");
        assert_ne!(run.code, Some(0), "{run:#?}");
        assert!(run.peak < PEAK_MAX, "{bytes} bytes: {run:#?}");
        assert!(bytes < 2 << 20 || run.err.contains("at most 1048576"), "{run:#?}");
    }
}
