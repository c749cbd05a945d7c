//! Hugging Face folders, whole and broken: the fixtures open, and each thing that can be wrong has
//! its line.

use std::fs;
use std::path::{Path, PathBuf};

use hardtack_converter::source::{Checkpoint, ElementKind, Form};

/// A safetensors file of F32 vectors.
fn safetensors(tensors: &[(&str, &[f32])]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, numbers) in tensors {
        let start = data.len();
        data.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let entry = serde_json::json!({
            "dtype": "F32", "shape": [numbers.len()], "data_offsets": [start, data.len()],
        });
        header.insert((*name).to_owned(), entry);
    }
    file(&serde_json::to_string(&header).unwrap(), &data)
}

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The error of opening it: one line.
    fn line(&self) -> String {
        let line = Checkpoint::open(self.path()).unwrap_err().to_string();
        assert!(!line.contains('\n'), "{line}");
        line
    }
}

fn assert_line(folder: &Folder, parts: &[&str]) {
    let line = folder.line();
    for part in parts {
        assert!(line.contains(part), "{line:?} lacks {part:?}");
    }
}

const CONFIG: (&str, &[u8]) = ("config.json", br#"{"model_type": "llama"}"#);
const INDEX: &str = "model.safetensors.index.json";

fn sharded(index: &str, shards: &[(&str, &[u8])]) -> Folder {
    Folder::new(&[&[CONFIG, (INDEX, index.as_bytes())], shards].concat())
}

#[test]
fn fixtures_open_and_read() {
    let Some(fixtures) = hardtack_testing::fixtures() else { return };
    let folders = fs::read_dir(fixtures).unwrap();
    for folder in folders.map(|folder| folder.unwrap().path()).filter(|path| path.is_dir()) {
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let Form::HuggingFace { config, .. } = checkpoint.form() else { panic!("not a folder") };
        assert!(config["model_type"].is_string());
        assert_eq!(checkpoint.files().len(), 2);
        assert!(checkpoint.names().count() > 20);
        for name in checkpoint.names() {
            let tensor = checkpoint.tensor(name).unwrap();
            let numbers = checkpoint.read(name).unwrap();
            assert_eq!(numbers.len(), tensor.shape.iter().product::<usize>(), "{name}");
            let (middle, columns) = (tensor.rows() / 2, tensor.columns());
            let rows = checkpoint.read_rows(name, middle, 1).unwrap();
            assert_eq!(rows, numbers[middle * columns..][..columns], "{name}");
        }
    }
}

#[test]
fn shards_are_read_as_the_index_says() {
    let index = r#"{"metadata": {}, "weight_map": {"c": "1.safetensors", "a": "2.safetensors"}}"#;
    let one = safetensors(&[("a", &[9.0]), ("c", &[1.0, 2.0])]);
    let two = safetensors(&[("a", &[3.0])]);
    let folder = sharded(index, &[("1.safetensors", &one), ("2.safetensors", &two)]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["c", "a"]);
    assert_eq!(checkpoint.read("c").unwrap(), [1.0, 2.0]);
    assert_eq!(checkpoint.read("a").unwrap(), [3.0]);
    let paths: Vec<PathBuf> = ["config.json", INDEX, "1.safetensors", "2.safetensors"]
        .map(|name| folder.path().join(name))
        .into();
    assert_eq!(checkpoint.files(), paths);
    let tensor = checkpoint.tensor("a").unwrap();
    assert_eq!((tensor.file, tensor.kind, tensor.bytes), (3, ElementKind::F32, 4));
    let line = checkpoint.read("b\n").unwrap_err().to_string();
    assert!(line.ends_with("tensor b\\n: not in this checkpoint"), "{line}");
}

#[test]
fn broken_shards() {
    let shard = safetensors(&[("a", &[1.0; 8])]);
    let index = r#"{"weight_map": {"a": "1.safetensors"}}"#;
    let cut = shard.len() - 7;
    let expected = format!("tensor a: file ends at byte {cut}, expected {}", shard.len());
    let folder = sharded(index, &[("1.safetensors", &shard[..cut])]);
    assert_line(&folder, &["1.safetensors: ", &expected]);

    let folder = sharded(index, &[]);
    assert_line(&folder, &["1.safetensors: missing, but ", "index.json names it"]);

    let other = safetensors(&[("b", &[1.0])]);
    let folder = sharded(index, &[("1.safetensors", &other)]);
    assert_line(&folder, &["1.safetensors: tensor a: missing, but ", "puts it in this file"]);

    for name in ["../1.safetensors", "/1.safetensors", "", ".", "a/b", "a\\\\b"] {
        let index = format!(r#"{{"weight_map": {{"a": "{name}"}}}}"#);
        let folder = sharded(&index, &[("1.safetensors", &shard)]);
        assert_line(&folder, &["index.json: weight_map", "expected a name without folders"]);
    }
    assert_line(&sharded("{}", &[]), &["index.json: invalid JSON: missing field `weight_map`"]);
}

#[test]
fn not_a_model() {
    let folder = Folder::new(&[]);
    assert_line(
        &folder,
        &["not a model: expected config.json and model.safetensors", "no config.json"],
    );
    assert_line(&Folder::new(&[CONFIG]), &["not a model", "found no model.safetensors and no "]);
    let folder = Folder::new(&[("config.json", b"{,")]);
    assert_line(&folder, &["config.json: invalid JSON: ", "line 1 column 2"]);
    let folder = Folder::new(&[]);
    fs::create_dir(folder.path().join("config.json")).unwrap();
    assert_line(&folder, &["config.json: not a model: expected a file"]);
    let folder = Folder::new(&[CONFIG, ("model.safetensors", b"")]);
    assert_line(&folder, &["model.safetensors is an empty file: its download did not finish"]);

    let files = Folder::new(&[("notes.txt", b"Hello\n"), ("short", b"GG")]);
    for (name, found) in [("notes.txt", "\"Hell\""), ("short", "2 bytes")] {
        let line = Checkpoint::open(&files.path().join(name)).unwrap_err().to_string();
        let expected = format!("{name}: not a model: expected the magic \"GGUF\"");
        assert!(line.contains(&expected) && line.contains(found), "{line}");
    }
    let line = Checkpoint::open(&files.path().join("absent")).unwrap_err().to_string();
    assert!(line.contains("absent: "), "{line}");
}

#[test]
fn weights_that_are_not_numbers() {
    for (number, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (-f32::INFINITY, "-inf")] {
        let weights = safetensors(&[("good", &[1.0]), ("bad", &[1.0, 2.0, number, 3.0])]);
        let folder = Folder::new(&[CONFIG, ("model.safetensors", &weights)]);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        checkpoint.read("good").unwrap();
        let line = checkpoint.read("bad").unwrap_err().to_string();
        let expected = format!(
            "model.safetensors: tensor bad: element 2 of row 0: expected a finite number, found {shown}"
        );
        assert!(line.ends_with(&expected), "{line}");
    }
}

#[test]
fn a_file_cut_after_opening() {
    let weights = safetensors(&[("a", &[1.0; 8])]);
    let folder = Folder::new(&[CONFIG, ("model.safetensors", &weights)]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let path = folder.path().join("model.safetensors");
    let cut = weights.len() as u64 - 4;
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(cut).unwrap();
    let line = checkpoint.read("a").unwrap_err().to_string();
    let expected = format!(
        "tensor a: file ends at byte {cut}, expected {}: at least 4 bytes are",
        weights.len()
    );
    assert!(line.contains(&expected), "{line}");
}

#[test]
fn headers_that_lie() {
    let cases: &[(&str, usize, &[&str])] = &[
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
            8,
            &["tensor a: data_offsets", "begin at 0", "found 4"],
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
            4,
            &["tensor a: data_offsets", "expected 8 bytes for F32 [2], found 0 to 4"],
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#,
            4,
            &["tensor a: data_offsets"],
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
            5,
            &["end of the last tensor", "bytes"],
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
            4,
            &["tensor b: data_offsets", "begin at 4"],
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
            4,
            &["tensor a appears twice"],
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#,
            4,
            &["tensor a: shape", "fits in memory"],
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}"#,
            4,
            &["tensor a: dimensions", "found 9"],
        ),
        (
            r#"{"a":{"dtype":"X7","shape":[1],"data_offsets":[0,4]}}"#,
            4,
            &["invalid JSON: tensor a: unknown variant `X7`"],
        ),
        (r#"{"a\n":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4, &["control characters"]),
        (r#"[]"#, 0, &["invalid JSON", "an object that maps names to tensors"]),
    ];
    for (header, data_bytes, parts) in cases {
        let weights = file(header, &vec![0; *data_bytes]);
        let folder = Folder::new(&[CONFIG, ("model.safetensors", &weights)]);
        assert_line(&folder, &[&["model.safetensors: "], *parts].concat());
    }
    let folder = Folder::new(&[CONFIG, ("model.safetensors", &[0xff; 64])]);
    assert_line(&folder, &["header length", "at most 100000000 bytes"]);
}
