//! Every readable kind against what the Python package `gguf` (or the OCP formula) makes of the
//! same bytes. data/make_dequantize.py writes both files.

use std::path::{Path, PathBuf};

use hardtack_converter::source::{Checkpoint, Form, optional};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The expected numbers, opened as the weights of a folder.
fn expected() -> (tempfile::TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    std::fs::copy(data("dequantize.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    (folder, checkpoint)
}

fn assert_close(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= 1e-6 * expected.abs(),
            "{name}[{i}]: {found} {expected}"
        );
    }
}

#[test]
fn every_kind_means_what_python_says() {
    let (_folder, expected) = expected();
    let tiny = Checkpoint::open(&data("tiny.gguf")).unwrap();
    let names: Vec<_> = expected.names().filter(|name| name.ends_with(".weight")).collect();
    assert_eq!(names.len(), 15);
    for name in names {
        let wanted = expected.read(name).unwrap();
        let tensor = tiny.tensor(name).unwrap();
        assert_eq!(tensor.shape, expected.tensor(name).unwrap().shape, "{name}");
        assert_close(name, &tiny.read(name).unwrap(), &wanted);

        let columns = tensor.columns();
        for row in 0..tensor.rows() {
            let wanted = &wanted[row * columns..][..columns];
            assert_close(name, &tiny.read_rows(name, row, 1).unwrap(), wanted);
        }
        assert_close(name, &tiny.read_rows(name, 1, 1).unwrap(), &wanted[columns..][..columns]);
        assert!(tiny.read_rows(name, tensor.rows(), 0).unwrap().is_empty());
        assert!(tiny.read_rows(name, tensor.rows(), 1).is_err());
        assert!(tiny.read_rows(name, usize::MAX, 2).is_err());
    }
}

#[test]
fn hugging_face_mxfp4() {
    let (_folder, expected) = expected();
    let (blocks, scales) =
        (expected.read_bytes("hf_blocks").unwrap(), expected.read_bytes("hf_scales").unwrap());
    let wanted = expected.read("hf_expected").unwrap();
    assert_close("mxfp4", &hardtack_models::mxfp4::decode(&blocks, &scales), &wanted);
    assert_eq!(expected.read_byte_rows("hf_blocks", 2, 1).unwrap(), &blocks[32..48]);

    let error = expected.read("hf_blocks").unwrap_err();
    assert!(error.to_string().ends_with("tensor hf_blocks: U8 is not supported"), "{error}");
    let error = expected.read_bytes("hf_expected").unwrap_err();
    assert!(error.to_string().contains("F32 is not supported as bytes, expected U8"), "{error}");
}

#[test]
fn integers_are_numbers_in_gguf_alone() {
    let tiny = Checkpoint::open(&data("tiny.gguf")).unwrap();
    assert_eq!(tiny.read("i32.weight").unwrap(), [0.0, 1.0, 2.0]);

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    let header = br#"{"codes": {"dtype": "I8", "shape": [2], "data_offsets": [0, 2]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &[1, 2]].concat();
    std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    let line = Checkpoint::open(folder.path()).unwrap().read("codes").unwrap_err().to_string();
    assert!(line.ends_with("model.safetensors: tensor codes: I8 is not supported"), "{line}");
}

#[test]
fn metadata_comes_back_as_python_wrote_it() {
    let tiny = Checkpoint::open(&data("tiny.gguf")).unwrap();
    assert_eq!(tiny.files(), [data("tiny.gguf")]);
    let Form::Gguf(metadata) = tiny.form() else { panic!("not GGUF") };
    assert_eq!(metadata.get_str("general.architecture").unwrap(), "llama");
    assert_eq!(metadata.get_u32("test.u8").unwrap(), 200);
    assert_eq!(metadata.get_u32("test.u16").unwrap(), 60000);
    assert_eq!(metadata.get_u32("test.u32").unwrap(), 4_000_000_000);
    assert_eq!(metadata.get_u64("test.u64").unwrap(), 1 << 63);
    assert_eq!(metadata.get_f32("test.f32").unwrap(), 0.1);
    assert_eq!(metadata.get_f32("test.f64").unwrap(), 0.25);
    assert!(metadata.get_bool("test.bool").unwrap());
    assert_eq!(metadata.get_str("test.string").unwrap(), "a ship's biscuit, « très dur »");
    assert_eq!(metadata.get_string_array("test.strings").unwrap(), ["", "zwie", "back ☃"]);
    assert_eq!(metadata.get_i32_array("test.i32s").unwrap(), [-1, 0, 7]);
    assert_eq!(metadata.get_i32_array("test.u64s").unwrap(), [1, 2]);
    assert_eq!(metadata.get_f32_array("test.f32s").unwrap(), [0.5, -0.25]);

    assert!(metadata.contains("test.bools") && !metadata.contains("test.none"));
    assert_eq!(optional(metadata.get_u32("test.none")).unwrap(), None);
    assert_eq!(optional(metadata.get_u32("test.u8")).unwrap(), Some(200));
    assert!(optional(metadata.get_u32("test.string")).is_err());
    for (error, line) in [
        (metadata.get_u32("test.none").unwrap_err(), "key test.none: missing"),
        (
            metadata.get_u32("test.string").unwrap_err(),
            "key test.string: expected u32, found string",
        ),
        (metadata.get_u32("test.u64").unwrap_err(), "expected u32, found u64 9223372036854775808"),
        (metadata.get_u64("test.i8").unwrap_err(), "expected u64, found i8 -100"),
        (metadata.get_f32("test.u32").unwrap_err(), "expected f32, found u32"),
        (metadata.get_bool("test.u8").unwrap_err(), "expected bool, found u8"),
        (metadata.get_str("test.strings").unwrap_err(), "expected string, found array of string"),
        (metadata.get_string_array("test.i32s").unwrap_err(), "found array of i32"),
        (metadata.get_f32_array("test.f32").unwrap_err(), "expected array of f32, found f32"),
        (
            metadata.get_i32_array("test.f32s").unwrap_err(),
            "expected array of i32, found array of f32",
        ),
        (metadata.get_i32_array("a\nb").unwrap_err(), "key a\\nb: missing"),
    ] {
        let text = error.to_string();
        assert!(text.contains("tiny.gguf: key ") && text.ends_with(line), "{text}");
    }
}
