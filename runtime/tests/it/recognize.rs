//! What people give in place of a blob is called by its name, and the error says what to do.

use std::fs;
use std::path::Path;

use hardtack::{Engine, Error, Options};

fn refusal(path: &Path) -> String {
    let Err(error) = Engine::open_with(path, &Options::default()) else {
        panic!("{} is no blob", path.display())
    };
    assert!(matches!(error, Error::NotABlob { .. }), "{error:?}");
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

#[test]
fn files_that_are_no_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let cases: &[(&str, &[u8], &[&str])] = &[
        (
            "model.gguf",
            b"GGUF\x03\0\0\0",
            &["is a GGUF file: bake it first: hardtack bake ", " -o model.tack"],
        ),
        ("it's.gguf", b"GGUF\x03\0\0\0", &[r"it'\''s.gguf' -o 'it'\''s.tack'"]),
        (
            "a.safetensors",
            b"\x40\0\0\0\0\0\0\0{\"a\"",
            &["is a safetensors file", "by its folder: hardtack bake "],
        ),
        (
            "p.tack",
            b"version https://git-lfs.github.com/spec/v1\n",
            &["is a Git LFS pointer", "git lfs pull"],
        ),
        ("h.tack", b"<!doctype html><html>", &["is a web page", "download the file again"]),
        ("r.tack", b"Entry not found", &["is a server's refusal"]),
        ("e.tack", b"", &["is an empty file", "truncated"]),
        ("z.tack", &[0; 4096], &["is a file of zeros", "did not finish"]),
        ("t.bin", b"\x80\x02\x8a\nl\xfc", &["is a Python pickle", "hardtack bake"]),
        ("s.session", b"HTSAVED\x02rest", &["is a saved session", "--session"]),
        (
            "n.txt",
            b"It was a dark and stormy night.",
            &["is no .tack blob", "\"It was a\"", "magic"],
        ),
    ];
    for (name, bytes, words) in cases {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let line = refusal(&path);
        assert!(line.starts_with(path.to_str().unwrap()), "{line}");
        for word in *words {
            assert!(line.contains(word), "{line:?} lacks {word:?}");
        }
    }
}

#[test]
fn folders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crumb");
    fs::create_dir(&path).unwrap();
    assert!(refusal(&path).ends_with("crumb is a folder: give the path of a .tack blob"));
    fs::write(path.join("a.gguf"), b"GGUF").unwrap();
    assert!(refusal(&path).contains("is a folder of GGUF files: bake one first: hardtack bake "));
    fs::write(path.join("config.json"), b"{}").unwrap();
    let line = refusal(&path);
    assert!(line.contains("crumb is a checkpoint folder: bake it first: hardtack bake "), "{line}");
    assert!(line.ends_with("crumb -o crumb.tack"), "{line}");
    fs::write(path.join("crumb.tack"), b"").unwrap();
    assert!(refusal(&path).contains("is a folder: give the blob in it: "));
}

/// A path that cannot be read at all is an error of the system, not a kind.
#[test]
fn absent_files_stay_errors_of_the_system() {
    let error = Engine::open_with("nowhere.tack", &Options::default()).expect_err("absent");
    assert!(matches!(error, Error::File { .. }), "{error:?}");
}
