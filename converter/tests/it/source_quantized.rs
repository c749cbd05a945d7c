//! Quantized folders are read as the weights they stand for: formats of others, and each way in
//! which one can be wrong.
//!
//! The folders under `data/quantized` are `make.py`'s there: their `expected/NAME` is what the
//! format's own package makes of weight NAME.

use std::fs;
use std::path::{Path, PathBuf};

use hardtack_converter::source::{Checkpoint, Form};
use serde_json::{Value, json};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/quantized").join(name)
}

/// Scales times codes may be rounded once more or less.
fn assert_close(found: &[f32], expected: &[f32], name: &str) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= 1e-6 * expected.abs() + 1e-9,
            "{name}: {place}: {found} {expected}"
        );
    }
}

/// Reads every weight of a folder whole and in rows, and returns how many there are.
fn check(folder: &str) -> usize {
    let checkpoint = Checkpoint::open(&data(folder)).unwrap();
    let names: Vec<&str> = checkpoint.names().collect();
    let expected: Vec<&str> =
        names.iter().filter_map(|name| name.strip_prefix("expected/")).collect();
    for name in &names {
        let known =
            expected.iter().any(|own| name == own || name.strip_prefix("expected/") == Some(own));
        assert!(known || *name == "plain.weight", "{folder}: {name} is left over");
    }
    for name in &expected {
        let numbers = checkpoint.read(&format!("expected/{name}")).unwrap();
        let shape = checkpoint.shape(&format!("expected/{name}")).unwrap();
        assert_eq!(checkpoint.shape(name), Some(shape), "{name}");
        let (label, bits) = checkpoint.quantized_as(name).unwrap();
        assert!(!label.is_empty() && (2.0..=8.1).contains(&bits), "{name}: {label}, {bits} bits");
        assert_close(&checkpoint.read(name).unwrap(), &numbers, name);
        let columns = shape[shape.len() - 1];
        let rows = numbers.len() / columns;
        for (first, count) in [(0, 1), (rows / 2, 2.min(rows - rows / 2)), (rows - 1, 1), (1, 0)] {
            let part = checkpoint.read_rows(name, first, count).unwrap();
            assert_close(&part, &numbers[first * columns..][..count * columns], name);
        }
        let line = checkpoint.read_rows(name, rows, 1).unwrap_err().to_string();
        assert!(line.contains(&format!("expected at most {rows} rows")), "{line}");
    }
    let Form::HuggingFace { config, .. } = checkpoint.form() else { panic!("not a folder") };
    assert_eq!(config, &json!({"model_type": "llama"}), "settings that are done with are gone");
    expected.len()
}

#[test]
fn gptq_of_all_widths_with_and_without_an_order_of_columns() {
    assert_eq!(check("gptq"), 5);
    assert_eq!(check("gptq_v2"), 2);
}

#[test]
fn awq() {
    assert_eq!(check("awq"), 2);
}

#[test]
fn bitsandbytes_of_four_and_eight_bits() {
    assert_eq!(check("bitsandbytes"), 4);
}

#[test]
fn compressed_tensors() {
    assert_eq!(check("compressed_packed"), 9);
    assert_eq!(check("compressed_bytes"), 5);
    assert_eq!(check("compressed_floats"), 2);
}

#[test]
fn float8_with_blocks_and_fused_experts() {
    assert_eq!(check("fp8_blocks"), 5);
}

#[test]
fn model_opt_by_its_own_file() {
    assert_eq!(check("modelopt"), 2);
}

#[test]
fn mlx_of_all_widths_and_modes() {
    assert_eq!(check("mlx"), 10);
}

/// A copy of a folder whose configuration is another.
fn with_config(folder: &str, change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut config: Value =
        serde_json::from_slice(&fs::read(data(folder).join("config.json")).unwrap()).unwrap();
    change(&mut config);
    fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
    fs::copy(data(folder).join("model.safetensors"), copy.path().join("model.safetensors"))
        .unwrap();
    copy
}

fn refused(folder: &Path, words: &[&str]) {
    let line = Checkpoint::open(folder).unwrap_err().to_string();
    assert!(!line.contains('\n'), "{line}");
    for word in words {
        assert!(line.contains(word), "{line:?} lacks {word:?}");
    }
}

#[test]
fn unknown_methods_are_refused_by_name() {
    for method in [
        "hqq",
        "aqlm",
        "vptq",
        "quanto",
        "eetq",
        "higgs",
        "spqr",
        "torchao",
        "bitnet",
        "quark",
        "new\u{1b}[2J",
    ] {
        let copy = with_config("awq", |config| {
            config["quantization_config"] = json!({"quant_method": method})
        });
        let shown = method.replace('\u{1b}', "");
        let line = Checkpoint::open(copy.path()).unwrap_err().to_string();
        assert!(
            line.contains("quant_method is") && line.contains("supported: awq, bitsandbytes"),
            "{line}"
        );
        assert!(
            line.contains(shown.split('[').next().unwrap()) && !line.contains('\u{1b}'),
            "{line}"
        );
    }
    let cases = [
        ("awq", json!({"quant_method": "awq", "version": "gemv"}), ["AWQ version", "gemv"]),
        (
            "gptq",
            json!({"quant_method": "gptq", "checkpoint_format": "marlin"}),
            ["checkpoint_format", "marlin"],
        ),
        (
            "gptq",
            json!({"quant_method": "gptq", "is_marlin_format": true}),
            ["checkpoint_format", "marlin"],
        ),
        (
            "compressed_packed",
            json!({"quant_method": "compressed-tensors", "format": "marlin-24"}),
            ["format", "marlin-24"],
        ),
        (
            "compressed_packed",
            json!({"quant_method": "compressed-tensors", "sparsity_config": {"format": "sparse-24-bitmask"}}),
            ["sparsity_config", "sparse-24-bitmask"],
        ),
        (
            "modelopt",
            json!({"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}),
            ["quant_algo", "W4A16_AWQ"],
        ),
        ("gptq", json!({}), ["quant_method", "absent, beside a tensor"]),
        ("mlx", json!({}), ["quantization", "without group_size and bits"]),
        (
            "mlx",
            json!({"group_size": 32, "bits": 4, "mode": "other"}),
            ["quantization.mode", "other"],
        ),
    ];
    for (folder, quantization, words) in cases {
        let copy = with_config(folder, |config| {
            config.as_object_mut().unwrap().remove("quantization");
            config["quantization_config"] = quantization;
        });
        refused(copy.path(), &words);
    }
}

/// AutoRound writes the formats of others; lists of modules and wrong widths in a configuration do
/// not matter.
#[test]
fn tensors_outrank_the_configuration() {
    let round =
        json!({"quant_method": "auto-round", "bits": 4, "packing_format": "auto_round:auto_gptq"});
    let copy = with_config("gptq", |config| config["quantization_config"] = round);
    Checkpoint::open(copy.path()).unwrap();
    let lists = json!({"quant_method": "gptq", "bits": 8, "group_size": 17, "modules_to_not_convert": ["four"]});
    let copy = with_config("gptq", |config| config["quantization_config"] = lists);
    let checkpoint = Checkpoint::open(copy.path()).unwrap();
    for name in ["four.weight", "eight.weight"] {
        let expected = checkpoint.read(&format!("expected/{name}")).unwrap();
        assert_close(&checkpoint.read(name).unwrap(), &expected, name);
    }
    // Settings may be those of a text model inside another.
    let copy = with_config("awq", |config| {
        let inner = config.as_object_mut().unwrap().remove("quantization_config").unwrap();
        config["text_config"] = json!({ "quantization_config": inner });
    });
    assert_eq!(Checkpoint::open(copy.path()).unwrap().names().count(), 4);
}

/// Methods that no configuration speaks of show by their tensors.
#[test]
fn tensors_of_unknown_methods_are_refused_by_name() {
    for (name, method) in [("a.W_q", "hqq"), ("a.codebooks", "aqlm"), ("a.weight._data", "quanto")]
    {
        let folder = folder(json!({}), &[(name, "U8", &[4], vec![0; 4])]);
        refused(folder.path(), &[name, method, "supported: awq"]);
    }
}

/// AutoGPTQ wrote a bias of zeros beside every weight: it can be read, and is not missed by a
/// network without biases.
#[test]
fn biases_of_zeros_are_not_listed() {
    for (value, listed) in [(0u8, 1), (1, 2)] {
        let scale = ("a.weight_scale", "F32", &[1][..], 1f32.to_le_bytes().to_vec());
        let bias = ("a.bias", "F16", &[2][..], vec![value; 4]);
        let folder =
            folder(json!({}), &[("a.weight", "F8_E4M3", &[2, 2], vec![0; 4]), scale, bias]);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(checkpoint.names().count(), listed);
        assert_eq!(checkpoint.shape("a.bias"), Some(&[2][..]));
        assert_eq!(checkpoint.read("a.bias").unwrap().len(), 2);
    }
}

/// A safetensors file of bytes.
fn safetensors(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend_from_slice(bytes);
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]});
        header.insert((*name).to_owned(), entry);
    }
    let header = serde_json::to_string(&header).unwrap();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

fn folder(config: Value, tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    fs::write(folder.path().join("model.safetensors"), safetensors(tensors)).unwrap();
    folder
}

fn halves(count: usize) -> Vec<u8> {
    0x3c00u16.to_le_bytes().repeat(count)
}

#[test]
fn parts_that_do_not_fit() {
    let gptq = || json!({"quantization_config": {"quant_method": "gptq", "bits": 4}});
    let codes = ("a.qweight", "I32", &[4, 8][..], vec![0; 128]);
    let zeros = ("a.qzeros", "I32", &[1, 1][..], vec![0; 4]);
    let scales = ("a.scales", "F16", &[1, 8][..], halves(8));
    let lacking = folder(gptq(), &[codes.clone(), zeros.clone()]);
    refused(
        lacking.path(),
        &["model.safetensors: tensor a.qweight", "expected a tensor a.scales beside it"],
    );
    let narrow =
        folder(gptq(), &[codes.clone(), zeros.clone(), ("a.scales", "F16", &[1, 7], halves(7))]);
    refused(narrow.path(), &["tensor a.qweight: shape", "expected [4, 7], found [4, 8]"]);
    let words = folder(
        gptq(),
        &[("a.qweight", "F32", &[4, 8], vec![0; 128]), zeros.clone(), scales.clone()],
    );
    refused(words.path(), &["tensor a.qweight", "found F32 [4, 8]"]);
    let both = folder(
        gptq(),
        &[codes.clone(), zeros.clone(), scales.clone(), ("a.weight", "F16", &[1], halves(1))],
    );
    refused(both.path(), &["tensor a.qweight", "expected no tensor a.weight beside it"]);
    // A group that is none shows when it is read.
    let group = [vec![0; 124], 9i32.to_le_bytes().to_vec()].concat();
    let listed = folder(gptq(), &[codes, zeros, scales, ("a.g_idx", "I32", &[32], group)]);
    let line = Checkpoint::open(listed.path()).unwrap().read("a.weight").unwrap_err().to_string();
    assert!(
        line.contains("tensor a.g_idx: element 31")
            && line.contains("a group from 0 to 0, found 9"),
        "{line}"
    );

    let fp8 =
        || json!({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}});
    let bare = folder(fp8(), &[("a.weight", "F8_E4M3", &[2, 2], vec![0; 4])]);
    refused(bare.path(), &["tensor a.weight: expected a tensor a.weight_scale beside it"]);
    let odd = folder(
        fp8(),
        &[
            ("a.weight", "F8_E4M3", &[2, 2], vec![0; 4]),
            ("a.weight_scale_inv", "F32", &[5, 7], vec![0; 140]),
        ],
    );
    refused(odd.path(), &["tensor a.weight_scale_inv", "[2, 2], found F32 [5, 7]"]);
    // A code that is NaN is found where any other NaN is.
    let scale = ("a.weight_scale_inv", "F32", &[1, 1][..], 1f32.to_le_bytes().to_vec());
    let nan = folder(fp8(), &[("a.weight", "F8_E4M3", &[2, 2], vec![0, 0, 0x7f, 0]), scale]);
    let line = Checkpoint::open(nan.path()).unwrap().read("a.weight").unwrap_err().to_string();
    assert!(
        line.contains("tensor a.weight: element 2 of row 1: expected a finite number, found NaN"),
        "{line}"
    );
}

/// Without settings of a quantization, floats of eight bits are the numbers they say.
#[test]
fn plain_floats_of_eight_bits() {
    let folder = folder(json!({}), &[("a.weight", "F8_E4M3", &[4], vec![0x38, 0xb8, 0x7e, 1])]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.read("a.weight").unwrap(), [1.0, -1.0, 448.0, 0.001953125]);
    assert_eq!(checkpoint.quantized_as("a.weight"), None);
}

#[test]
fn states_of_bitsandbytes_that_lie() {
    let state = |text: &str| {
        let name = "a.weight.quant_state.bitsandbytes__nf4";
        let config = json!({"quantization_config": {"quant_method": "bitsandbytes"}});
        folder(
            config,
            &[
                (name, "U8", &[text.len()], text.as_bytes().to_vec()),
                ("a.weight", "U8", &[4, 1], vec![0; 4]),
                ("a.weight.absmax", "F32", &[1], vec![0; 4]),
                ("a.weight.quant_map", "F32", &[16], vec![0; 64]),
            ],
        )
    };
    let good =
        state(r#"{"quant_type": "nf4", "blocksize": 64, "shape": [2, 4], "dtype": "bfloat16"}"#);
    assert_eq!(Checkpoint::open(good.path()).unwrap().read("a.weight").unwrap(), [0.0; 8]);
    // Codes may be kept as numbers of another kind (bnb_4bit_quant_storage); their bytes are the
    // same.
    let name = "a.weight.quant_state.bitsandbytes__nf4";
    let text = r#"{"quant_type": "nf4", "blocksize": 64, "shape": [2, 4], "dtype": "bfloat16"}"#;
    let other = folder(
        json!({}),
        &[
            (name, "U8", &[text.len()], text.as_bytes().to_vec()),
            ("a.weight", "BF16", &[2, 1], vec![0x01, 0x23, 0x45, 0x67]),
            ("a.weight.absmax", "F32", &[1], 2f32.to_le_bytes().to_vec()),
            (
                "a.weight.quant_map",
                "F32",
                &[16],
                (0..16u8).flat_map(|code| f32::from(code).to_le_bytes()).collect(),
            ),
        ],
    );
    let checkpoint = Checkpoint::open(other.path()).unwrap();
    assert_eq!(checkpoint.read("a.weight").unwrap(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]);
    let cases = [
        ("{", "its settings as JSON"),
        (r#"{"blocksize": 0, "shape": [2, 4]}"#, "at least one number"),
        (r#"{"blocksize": 64, "shape": []}"#, "numbers fit in memory"),
        (
            r#"{"blocksize": 64, "shape": [4294967296, 4294967296, 4294967296]}"#,
            "numbers fit in memory",
        ),
        (r#"{"blocksize": 64, "shape": [2, 5]}"#, "expected 5 bytes for [2, 5], found 4 bytes"),
        (r#"{"blocksize": 4, "shape": [2, 4]}"#, "expected F32 [2]"),
    ];
    for (text, expected) in cases {
        refused(state(text).path(), &[expected]);
    }
}

/// A digit or letter of a header that is another one: an error line or numbers, and never a panic.
#[test]
fn damaged_headers_cost_an_error_line() {
    const FOLDERS: [&str; 10] = [
        "awq",
        "bitsandbytes",
        "compressed_bytes",
        "compressed_floats",
        "compressed_packed",
        "fp8_blocks",
        "gptq",
        "gptq_v2",
        "mlx",
        "modelopt",
    ];
    const STRIDE: usize = 23;
    for (start, name) in FOLDERS.into_iter().enumerate() {
        let copy = with_config(name, |_| ());
        let path = copy.path().join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for place in (8 + start..header).step_by(STRIDE) {
            for mask in [1, 4] {
                bytes[place] ^= mask;
                fs::write(&path, &bytes).unwrap();
                let opened = Checkpoint::open(copy.path());
                bytes[place] ^= mask;
                let one_line =
                    |error: String| assert!(!error.contains(char::is_control), "{error:?}");
                let checkpoint = match opened {
                    Ok(checkpoint) => checkpoint,
                    Err(error) => {
                        one_line(error.to_string());
                        continue;
                    }
                };
                for name in checkpoint.names() {
                    match checkpoint.read(name) {
                        Ok(numbers) => assert!(numbers.iter().all(|number| number.is_finite())),
                        Err(error) => one_line(error.to_string()),
                    }
                }
            }
        }
    }
}
