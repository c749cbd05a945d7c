//! What people give in place of a blob is called by its name, with what to do next.

use std::fs;

use crate::program::run;

/// The first mistake that everybody makes: what is to be baked is given to what runs a blob.
#[test]
fn what_is_given_in_place_of_a_blob_is_called_by_its_name() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    fs::write(path("model.gguf"), b"GGUF\x03\0\0\0").unwrap();
    fs::write(
        path("pointer.tack"),
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
    )
    .unwrap();
    fs::write(path("page.tack"), b"<!DOCTYPE html><html>").unwrap();
    fs::write(path("a.safetensors"), b"\x02\0\0\0\0\0\0\0{}").unwrap();
    fs::create_dir(path("crumb")).unwrap();
    fs::write(path("crumb/config.json"), b"{}").unwrap();
    let text = path("text.txt");
    fs::write(&text, "hello").unwrap();
    for (name, words) in [
        (
            "model.gguf",
            ["model.gguf is a GGUF file: bake it first: hardtack bake", "-o model.tack"],
        ),
        ("crumb", ["crumb is a checkpoint folder: bake it first: hardtack bake", "-o crumb.tack"]),
        ("a.safetensors", ["a.safetensors is a safetensors file", "by its folder: hardtack bake"]),
        ("pointer.tack", ["pointer.tack is a Git LFS pointer", "git lfs pull"]),
        ("page.tack", ["page.tack is a web page", "download the file again"]),
    ] {
        let given = path(name);
        run(&[&"run", &given, &"-p", &"hi"]).refused(&words);
        run(&[&"chat", &given]).refused(&words);
        run(&[&"inspect", &given]).refused(&words);
        run(&[&"bench", &given]).refused(&words);
        run(&[&"eval", &"ppl", &given, &"--text", &text]).refused(&words);
    }
}
