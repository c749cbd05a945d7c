//! The kept attack files: each is refused with exactly the error that names what is wrong.
//!
//! A file in `tests/attacks` is the beginning of a hostile blob; the rest of it is the rest of
//! `build::sample`. After a change of the format or of the sample, make them anew and read what
//! changed in `git diff`:
//!
//! ```text
//! cargo test -p hardtack-format --test blob -- --ignored make_the_attack_files
//! ```

#[path = "attacks_list.rs"]
mod list;

use std::collections::BTreeSet;
use std::path::PathBuf;

use hardtack_format::limits::*;
use hardtack_format::{Blob, Encoding, FormatError, Role, SectionKey, SectionKind};

use crate::build::sample;
use crate::damage::read;
use crate::seal::{index_end, seal_all, seal_root, u64_at};
use list::ATTACKS;

/// One way to lie.
struct Attack {
    name: &'static str,
    /// What it does to the sample.
    change: fn(&mut Victim),
    /// Made right afterwards, so that the check aimed at is the one that fires.
    seal: Seal,
    /// The error's variant, as its debug form begins, and the whole message.
    variant: &'static str,
    message: &'static str,
}

enum Seal {
    Nothing,
    Root,
    All,
}

/// The sample while it is changed.
struct Victim {
    file: Vec<u8>,
    /// Bytes from the start that differ from the sample.
    changed: usize,
}

const GLOBALS: SectionKey = SectionKey::only(SectionKind::Globals);
const SPEC: SectionKey = SectionKey::only(SectionKind::Spec);
const TOKENIZER: SectionKey = SectionKey::only(SectionKind::Tokenizer);
const LAYER: SectionKey = SectionKey::layer(0);

impl Victim {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.file[at..at + bytes.len()].copy_from_slice(bytes);
        self.changed = self.changed.max(at + bytes.len());
    }

    fn put_u16(&mut self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    fn put_u32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    fn put_u64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    fn add_u64(&mut self, at: usize, more: i64) {
        self.put_u64(at, u64_at(&self.file, at).wrapping_add_signed(more));
    }

    /// Offset of a section's record. The sample's own order is used, so ask before changing it.
    fn section(&self, key: SectionKey) -> usize {
        let file = sample();
        let at = Blob::open(&file).expect("open").sections().position(|record| record.key == key);
        HEADER_BYTES + at.expect("the section") * SECTION_RECORD_BYTES
    }

    /// Offset of a tensor's record.
    fn tensor(&self, key: SectionKey, role: Role) -> usize {
        let file = sample();
        let blob = Blob::open(&file).expect("open");
        let section = blob.section(key).expect("the section");
        let within = blob.tensors(&section).position(|(own, _)| own == role).expect("the tensor");
        let number = section.first_tensor as usize + within;
        HEADER_BYTES + blob.sections().len() * SECTION_RECORD_BYTES + number * TENSOR_RECORD_BYTES
    }

    /// Offset of the spec section's bytes.
    fn spec(&self) -> usize {
        u64_at(&self.file, self.section(SPEC) + 24) as usize
    }
}

#[test]
fn every_attack_is_refused_by_name() {
    let valid = sample();
    for attack in &ATTACKS {
        let head =
            std::fs::read(path(attack.name)).expect("the attack file; see the head of attacks.rs");
        assert!(head.len() < 64 << 10, "{}: {} bytes", attack.name, head.len());
        let mut file = valid.clone();
        file[..head.len()].copy_from_slice(&head);
        let error = read(&file).map(|_| ()).expect_err(attack.name);
        assert_eq!(error.to_string(), attack.message, "{}", attack.name);
        assert_eq!(variant(&error), attack.variant, "{}", attack.name);
    }
}

#[test]
fn the_kept_files_are_the_ones_listed_and_current() {
    let listed: BTreeSet<String> =
        ATTACKS.iter().map(|attack| format!("{}.head", attack.name)).collect();
    assert_eq!(listed.len(), ATTACKS.len(), "two attacks have one name");
    let entries = std::fs::read_dir(path("").parent().expect("a folder")).expect("tests/attacks");
    let kept: BTreeSet<String> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(kept, listed);
    for attack in &ATTACKS {
        assert!(
            std::fs::read(path(attack.name)).expect("the file") == make(attack),
            "{} is stale",
            attack.name
        );
    }
}

/// Writes `tests/attacks`. Not part of a usual run: the files are kept so that they stay what they
/// were.
#[test]
#[ignore = "makes the kept files anew"]
fn make_the_attack_files() {
    for attack in &ATTACKS {
        std::fs::write(path(attack.name), make(attack)).expect("write");
    }
}

fn make(attack: &Attack) -> Vec<u8> {
    let file = sample();
    let head = index_end(&file).expect("a whole index");
    let mut victim = Victim { file, changed: head };
    (attack.change)(&mut victim);
    match attack.seal {
        Seal::Nothing => {}
        Seal::Root => seal_root(&mut victim.file),
        Seal::All => seal_all(&mut victim.file),
    }
    victim.file.truncate(victim.changed);
    victim.file
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/attacks").join(format!("{name}.head"))
}

fn variant(error: &FormatError) -> String {
    let debug = format!("{error:?}");
    debug.split([' ', '(']).next().expect("a first word").to_owned()
}
