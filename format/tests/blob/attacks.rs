//! The kept attack files: each is refused with exactly the error that names what is wrong.
//!
//! A file in `tests/attacks` is the beginning of a hostile blob; the rest of it is the rest of
//! `build::sample`. After a change of the format or of the sample, make them anew and read what
//! changed in `git diff`:
//!
//! ```text
//! cargo test -p hardtack-format --test blob -- --ignored make_the_attack_files
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;

use hardtack_format::FormatError;

use crate::attack::{Attack, Seal, Victim};
use crate::attacks_list::ATTACKS;
use crate::build::sample;
use crate::damage::read;
use crate::seal::{index_end, seal_all, seal_root};

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
