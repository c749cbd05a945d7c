//! What people give in place of a checkpoint is called by its name, and the error says what to do.

use std::fs;
use std::path::Path;

use hardtack_converter::source::{Checkpoint, SourceError};

const POINTER: &[u8] =
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4984124272\n";
const HTML: &[u8] = b"<!DOCTYPE html>\n<html><head><title>Sign in</title>";
const WEIGHTS: &[u8] = b"\x02\0\0\0\0\0\0\0{}";
const CONFIG: (&str, &[u8]) = ("config.json", br#"{"model_type": "llama"}"#);

fn line(path: &Path) -> String {
    let error = Checkpoint::open(path).unwrap_err();
    assert!(matches!(error, SourceError::Recognized { .. }), "{error:?}");
    let line = error.to_string();
    assert!(!line.chars().any(char::is_control), "{line:?}");
    line
}

fn assert_words(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{line:?} lacks {word:?}");
    }
}

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

#[test]
fn files() {
    let mut tar = vec![b'a'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let pytorch =
        [b"PK\x03\x04".as_slice(), &[0; 22], &16u16.to_le_bytes(), &[0; 2], b"archive/data.pkl"]
            .concat();
    let manifest = br#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",
        "layers":[{"mediaType":"application/vnd.ollama.image.license","digest":"sha256:ff"},
        {"mediaType":"application/vnd.ollama.image.model","digest":"sha256:8daa9615cce3","size":1}]}"#;
    let cases: &[(&str, &[u8], &[&str])] = &[
        (
            "a.tack",
            b"\x89TACK\r\n\x1a",
            &["a.tack is a .tack blob: it is baked already; run it: hardtack run "],
        ),
        (
            "model.safetensors",
            WEIGHTS,
            &["is a safetensors file: give the folder", "config.json", "hardtack bake "],
        ),
        ("config.json", b"{\"model_type\": 1}", &["is a JSON file: give the folder"]),
        ("m.gguf", POINTER, &["m.gguf is a Git LFS pointer", "git lfs pull"]),
        ("m.gguf", HTML, &["is a web page", "download the file again"]),
        ("m.gguf", b"Entry not found", &["is a server's refusal"]),
        ("m.gguf", b"", &["is an empty file", "did not finish"]),
        ("m.gguf", &[0; 1 << 16], &["is a file of zeros", "did not finish"]),
        ("m.bin", &pytorch, &["is a PyTorch file", "safetensors", "save_pretrained"]),
        ("m.pth", b"\x80\x02\x8a\nl\xfc", &["is a Python pickle", "can run code"]),
        (
            "m.onnx",
            b"\x08\x07\x12\x07pytorch",
            &["is an ONNX model", "bake a folder with config.json"],
        ),
        ("m.zip", b"PK\x03\x04 and the rest of it", &["is a zip archive: unpack it"]),
        ("m.tgz", b"\x1f\x8b\x08", &["is a gzip archive: unpack it"]),
        ("m.tar", &tar, &["is a tar archive: unpack it"]),
        ("latest", manifest, &["is an ollama manifest: the model is the file sha256-8daa9615cce3"]),
        (
            "latest",
            b"{\"schemaVersion\":2,\"x\":\"vnd.ollama.\"}",
            &["is an ollama manifest: it names no model"],
        ),
        ("Modelfile", b"FROM ./m.gguf\n", &["is a Modelfile of ollama", "FROM"]),
        ("m.session", b"HTSAVED\x02", &["is a saved session", "--session"]),
    ];
    for (name, bytes, words) in cases {
        let folder = folder(&[(name, bytes)]);
        assert_words(&line(&folder.path().join(name)), words);
    }
}

#[test]
fn folders_without_a_checkpoint() {
    let adapter = br#"{"base_model_name_or_path": "org/base\u001b[2J", "peft_type": "LORA"}"#;
    type Case<'a> = (&'a [(&'a str, &'a [u8])], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (
            &[("adapter_config.json", adapter), ("adapter_model.safetensors", WEIGHTS)],
            &["is a LoRA adapter for org/base", "merge_and_unload"],
        ),
        (
            &[("refs/main", b"abc"), ("snapshots/abc/config.json", b"{}")],
            &["is a cache folder of the hub: give the snapshot in it: ", "/snapshots/abc"],
        ),
        (
            &[("a.gguf", b"GGUF")],
            &["is a folder with a GGUF file: give the file itself: hardtack bake ", "/a.gguf"],
        ),
        (
            &[("a-Q4.gguf", b"GGUF"), ("b-Q8.gguf", b"GGUF")],
            &["is a folder of GGUF files", "/a-Q4.gguf", "(a-Q4.gguf, b-Q8.gguf)"],
        ),
        (
            &[CONFIG, ("pytorch_model.bin", b"PK")],
            &[
                "is a folder whose weights are PyTorch files alone (pytorch_model.bin)",
                "safe_serialization=True",
            ],
        ),
        (
            &[
                CONFIG,
                ("pytorch_model.bin.index.json", b"{}"),
                ("pytorch_model-00001-of-00002.bin", b"PK"),
            ],
            &["PyTorch files alone"],
        ),
        (
            &[("consolidated.00.pth", b"PK"), ("params.json", b"{}")],
            &["Meta's or Mistral's own layout"],
        ),
        (
            &[CONFIG, ("model-00001-of-00002.safetensors", WEIGHTS)],
            &["have no index", "model-00001-of-00002.safetensors", "model.safetensors.index.json"],
        ),
        (&[CONFIG, ("model.onnx", b"x")], &["is a folder with an ONNX model"]),
        (&[CONFIG, ("tf_model.h5", b"x")], &["is a folder with weights of TensorFlow"]),
        (&[CONFIG, ("flax_model.msgpack", b"x")], &["is a folder with weights of Flax"]),
        (&[("m.tack", b"x")], &["is a folder with a .tack blob", "hardtack run "]),
        (&[CONFIG, ("model.safetensors.incomplete", b"x")], &["download did not finish"]),
        (
            &[("model_index.json", b"{}"), ("unet/config.json", b"{}")],
            &["is a pipeline of diffusers"],
        ),
    ];
    for (files, words) in cases {
        let folder = folder(files);
        let line = line(folder.path());
        assert!(line.starts_with(folder.path().to_str().unwrap()), "{line}");
        assert_words(&line, words);
    }
}

/// A LoRA's configuration beside merged weights does no harm.
#[test]
fn a_merged_folder_may_keep_its_adapter_configuration() {
    let folder = folder(&[CONFIG, ("model.safetensors", WEIGHTS), ("adapter_config.json", b"{}")]);
    assert_eq!(Checkpoint::open(folder.path()).unwrap().names().count(), 0);
}

#[test]
fn files_of_a_folder_that_are_something_else() {
    let good: &[(&str, &[u8])] =
        &[CONFIG, ("model.safetensors", WEIGHTS), ("tokenizer.json", b"{}")];
    for name in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ] {
        let kinds: [(&[u8], &str); 3] =
            [(POINTER, "a Git LFS pointer"), (HTML, "a web page"), (b"", "an empty file")];
        for (bytes, found) in kinds {
            let folder = folder(&[good, &[(name, bytes)]].concat());
            assert_words(&line(folder.path()), &[&format!("{name} is {found}")]);
        }
    }
    // A template of no characters says nothing, and is spoken of where templates are.
    let folder_ = folder(&[good, &[("chat_template.jinja", b"")]].concat());
    Checkpoint::open(folder_.path()).unwrap();

    // All pointers are named at once: fetching them one by one would take as many tries.
    let pointers = folder(&[CONFIG, ("model.safetensors", POINTER), ("tokenizer.json", POINTER)]);
    assert_words(
        &line(pointers.path()),
        &["tokenizer.json is a Git LFS pointer", "holds for model.safetensors"],
    );

    // Of shards too.
    let index =
        br#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "3.safetensors"}}"#;
    let index: (&str, &[u8]) = ("model.safetensors.index.json", index);
    let shard = folder(&[
        CONFIG,
        index,
        ("1.safetensors", POINTER),
        ("2.safetensors", HTML),
        ("3.safetensors", b""),
    ]);
    assert_words(&line(shard.path()), &["1.safetensors is a Git LFS pointer"]);
    let old = folder(&[CONFIG, ("model.safetensors", b"\x80\x02}q\x00")]);
    assert_words(&line(old.path()), &["model.safetensors is a Python pickle"]);

    // Absent shards are named together, before any is read.
    let absent = folder(&[CONFIG, index, ("2.safetensors", b"")]);
    let line = Checkpoint::open(absent.path()).unwrap_err().to_string();
    let names = [
        "1.safetensors: missing, but ",
        "index.json names it, and 3.safetensors besides; fetch what is missing",
    ];
    assert_words(&line, &names);
}

#[test]
fn weights_cut_short_are_an_unfinished_download() {
    let header = br#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
    let whole = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &[0; 16]].concat();
    let (first, last) = (40, whole.len() - 1);
    for length in [first, last] {
        let folder = folder(&[CONFIG, ("model.safetensors", &whole[..length])]);
        let line = Checkpoint::open(folder.path()).unwrap_err().to_string();
        assert_words(&line, &[&format!("file ends at byte {length}"), "get the file again"]);
    }
}
