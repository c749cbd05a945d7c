//! A blob is opened from a path, from a part of an open file and from memory, with the same
//! results; and where there is too little memory or address space, an error says so.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hardtack::format::{Encoding, SectionKind};
use hardtack::{
    Engine, Error, KvPrecision, Ladder, Load, Options, RingBits, RingOptions, SessionOptions,
    SystemMemory,
};
use hardtack_testing::synthetic;

const NETWORK: synthetic::Network =
    synthetic::Network { vocabulary: 300, hidden: 64, layers: 2, context: 256 };
const TOKENS: [u32; 5] = [1, 40, 7, 99, 2];

fn baked(folder: &Path, network: synthetic::Network) -> PathBuf {
    let (checkpoint, blob) = (folder.join("checkpoint"), folder.join("model.tack"));
    fs::create_dir(&checkpoint).unwrap();
    synthetic::write(&checkpoint, network);
    hardtack_testing::bake_at(&checkpoint, &blob, Encoding::Q4);
    blob
}

fn options(load: Load) -> Options {
    Options::new().load(load).threads(1)
}

fn logits(engine: &Engine) -> Vec<f32> {
    engine.session(&SessionOptions::default()).unwrap().feed(&TOKENS).unwrap().to_vec()
}

/// A file with the blob from this byte on, and more after it.
fn embedded(folder: &Path, blob: &[u8], start: usize) -> File {
    let path = folder.join(format!("package-{start}"));
    let parts = [vec![0xA5; start], blob.to_vec(), vec![0x5A; 100]];
    fs::write(&path, parts.concat()).unwrap();
    File::open(path).unwrap()
}

#[test]
fn a_part_of_an_open_file_is_a_blob() {
    let folder = tempfile::tempdir().unwrap();
    let path = baked(folder.path(), NETWORK);
    let blob = fs::read(&path).unwrap();
    let expected = logits(&Engine::open_with(&path, &options(Load::Mmap)).unwrap());
    for start in [0, 64, 4096, 16 << 10, (16 << 10) + 192] {
        let mut file = embedded(folder.path(), &blob, start);
        file.seek(SeekFrom::Start(3)).unwrap();
        let range = start as u64..(start + blob.len()) as u64;
        for load in [Load::Mmap, Load::Resident] {
            let engine = Engine::open_file(&file, range.clone(), &options(load)).unwrap();
            assert_eq!(engine.bytes(), blob, "{load:?} at {start}");
            assert_eq!(logits(&engine), expected, "{load:?} at {start}");
        }
        assert_eq!(file.stream_position().unwrap(), 3);
        let engine = Engine::open_file(&file, range, &options(Load::Mmap)).unwrap();
        drop(file);
        assert_eq!(logits(&engine), expected, "the file is closed");
    }
}

#[test]
fn where_a_blob_may_begin() {
    let folder = tempfile::tempdir().unwrap();
    let path = baked(folder.path(), NETWORK);
    let blob = fs::read(&path).unwrap();
    let expected = logits(&Engine::open_with(&path, &options(Load::Mmap)).unwrap());
    for start in [1, 32, 4100] {
        let file = embedded(folder.path(), &blob, start);
        let range = start as u64..(start + blob.len()) as u64;
        let error = Engine::open_file(&file, range.clone(), &options(Load::Mmap)).err().unwrap();
        assert!(matches!(error, Error::Alignment { alignment: 64, .. }), "{error}");
        assert!(
            error.to_string().contains("zipalign") && error.to_string().contains("Resident"),
            "{error}"
        );
        let engine = Engine::open_file(&file, range, &options(Load::Resident)).unwrap();
        assert_eq!(logits(&engine), expected, "at {start}");
    }
    // Memory that stays: in place where it is aligned, and copied from anywhere.
    let leaked: &'static mut [u8] = Box::leak(vec![0; blob.len() + 128].into_boxed_slice());
    let aligned = leaked.as_ptr().align_offset(64);
    leaked[aligned..][..blob.len()].copy_from_slice(&blob);
    let leaked: &'static [u8] = leaked;
    let engine =
        Engine::from_static(&leaked[aligned..][..blob.len()], &options(Load::Resident)).unwrap();
    assert_eq!(logits(&engine), expected);
    assert!(std::ptr::eq(engine.bytes().as_ptr(), &raw const leaked[aligned]), "it was copied");

    let shifted: &'static mut [u8] = Box::leak(vec![0; blob.len() + 128].into_boxed_slice());
    let start = shifted.as_ptr().align_offset(64) + 1;
    shifted[start..][..blob.len()].copy_from_slice(&blob);
    let shifted: &'static [u8] = &shifted[start..][..blob.len()];
    let error = Engine::from_static(shifted, &options(Load::Mmap)).err().unwrap();
    assert!(
        matches!(error, Error::Alignment { .. }) && error.to_string().contains("from_bytes"),
        "{error}"
    );
    let engine = Engine::from_bytes(shifted, &options(Load::Mmap)).unwrap();
    assert_eq!(logits(&engine), expected);
}

#[test]
fn what_is_no_blob_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = baked(folder.path(), NETWORK);
    let blob = fs::read(&path).unwrap();
    let (file, length) = (File::open(&path).unwrap(), blob.len() as u64);
    for range in
        [0..length + 1, length + 1..length + 2, std::ops::Range { start: 5, end: 4 }, 64..u64::MAX]
    {
        for load in [Load::Mmap, Load::Resident] {
            let error = Engine::open_file(&file, range.clone(), &options(load)).err().unwrap();
            assert!(matches!(error, Error::Setting { setting: "range", .. }), "{range:?}: {error}");
        }
    }
    for range in [0..0, 0..length - 1, 64..length] {
        for load in [Load::Mmap, Load::Resident] {
            let error = Engine::open_file(&file, range.clone(), &options(load)).err().unwrap();
            assert!(matches!(error, Error::Blob { .. } | Error::File { .. }), "{range:?}: {error}");
        }
    }
    for bytes in [&[][..], b"GGUF", &blob[..blob.len() - 1]] {
        assert!(matches!(
            Engine::from_bytes(bytes, &options(Load::Mmap)).err().unwrap(),
            Error::Blob { .. }
        ));
    }
}

#[test]
fn a_blob_that_changes_under_us_has_its_sections_where_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = baked(folder.path(), NETWORK);
    let engine = Engine::open_with(&path, &options(Load::Mmap)).unwrap();
    let keys: Vec<_> = engine.blob().sections().map(|record| record.key).collect();
    let root = engine.blob().header().root;
    let mut file = File::options().write(true).open(&path).unwrap();
    file.write_all(&[0xFF; 4096]).unwrap();
    drop(file);
    assert_eq!(engine.blob().sections().map(|record| record.key).collect::<Vec<_>>(), keys);
    assert_eq!(engine.blob().header().root, root);
    for record in engine.blob().sections() {
        assert_eq!(engine.blob().section_bytes(&record).len() as u64, record.bytes);
        assert!(engine.blob().tensors(&record).all(|(_, tensor)| tensor.bytes > 0));
    }
    assert!(engine.section(SectionKind::Tokenizer).is_some());
    let mut read = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(engine.bytes(), read, "it is the same file");
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn what_the_system_does_not_have_is_refused_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    // A trained context that no machine has the memory for.
    let path = baked(folder.path(), synthetic::Network { context: 1 << 24, layers: 96, ..NETWORK });
    let engine = Engine::open_with(&path, &options(Load::Mmap)).unwrap();
    let all = SessionOptions::new().context(1 << 24);
    let error = engine.plan(&all).unwrap_err();
    assert!(matches!(error, Error::SystemMemory { .. }), "{error}");
    let line = error.to_string();
    assert!(line.contains("has no more than") && line.contains("a context of"), "{line}");
    // The advice holds.
    let tokens: usize =
        line.split("a context of ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let less = all.context(tokens / 2);
    engine.plan(&less).unwrap_or_else(|error| panic!("{error}"));
    let ignored = options(Load::Mmap).system_memory(SystemMemory::Ignored);
    let engine = Engine::open_with(&path, &ignored).unwrap();
    assert!(engine.plan(&all).is_ok());
    // With a limit of the caller's own, that one counts.
    let limited = options(Load::Mmap).memory_max(u64::MAX);
    assert!(Engine::open_with(&path, &limited).unwrap().plan(&all).is_ok());
}

/// Lists of a promised context are asked for before any of it is touched.
#[test]
fn a_context_that_is_only_promised_is_no_abort() {
    let folder = tempfile::tempdir().unwrap();
    let path = baked(folder.path(), synthetic::Network { context: 1 << 24, layers: 96, ..NETWORK });
    let ignored = options(Load::Mmap).system_memory(SystemMemory::Ignored);
    let engine = Engine::open_with(&path, &ignored).unwrap();
    let bits = RingBits::Ladder(Ladder::new(&[[8, 8], [4, 4], [2, 2]]).unwrap());
    let exact = SessionOptions::new().context(1 << 24);
    let ring = exact.kv(KvPrecision::Ring(RingOptions::new().bytes(1 << 46).bits(bits)));
    for options in [exact, ring] {
        let needed = engine.plan(&options).unwrap().total_bytes();
        println!("{needed} bytes");
        if let Err(error) = engine.session(&options) {
            assert!(matches!(error, Error::Allocation { .. }), "{error}");
        }
    }
}
