//! A quantized folder makes the blob that the weights it stands for make, and the bake says that
//! they are rounded again.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use hardtack_converter::source::Checkpoint;
use hardtack_converter::{BakeOptions, Baked, Choices, Precision, bake};
use hardtack_format::{Blob, Encoding, SectionKind};
use serde_json::{Value, json};

const HIDDEN: usize = 64;
const INNER: usize = 128;
/// Matrices of the layer: `[outputs, inputs]`.
const MATRICES: [(&str, usize, usize); 7] = [
    ("self_attn.q_proj", HIDDEN, HIDDEN),
    ("self_attn.k_proj", HIDDEN / 2, HIDDEN),
    ("self_attn.v_proj", HIDDEN / 2, HIDDEN),
    ("self_attn.o_proj", HIDDEN, HIDDEN),
    ("mlp.gate_proj", INNER, HIDDEN),
    ("mlp.up_proj", INNER, HIDDEN),
    ("mlp.down_proj", HIDDEN, INNER),
];

/// Tensors as they go into a safetensors file: name, dtype, shape, bytes.
type Tensors = Vec<(String, &'static str, Vec<usize>, Vec<u8>)>;

fn floats(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(f32::to_le_bytes).collect()
}

/// Bytes without a pattern, none of which is NaN as an eight-bit float.
fn codes(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let code = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let code = (state >> 24) as u8;
        if code & 0x7f == 0x7f { code ^ 1 } else { code }
    };
    (0..count).map(code).collect()
}

fn config(quantization: Option<Value>) -> Value {
    let mut config = json!({
        "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 48, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": true,
    });
    if let Some(quantization) = quantization {
        config["quantization_config"] = quantization;
    }
    config
}

/// What stays in floats.
fn rest() -> Tensors {
    let vector = |name: &str, shape: &[usize]| {
        let count = shape.iter().product();
        let values = codes(count, 7).into_iter().map(|code| f32::from(code) / 128.0 - 1.0);
        (name.to_owned(), "F32", shape.to_vec(), floats(values))
    };
    vec![
        vector("model.embed_tokens.weight", &[48, HIDDEN]),
        vector("model.norm.weight", &[HIDDEN]),
        vector("model.layers.0.input_layernorm.weight", &[HIDDEN]),
        vector("model.layers.0.post_attention_layernorm.weight", &[HIDDEN]),
    ]
}

fn write(folder: &Path, config: &Value, tensors: &Tensors) {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend_from_slice(bytes);
        header.insert(
            name.clone(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    let header = serde_json::to_string(&header).unwrap();
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat();
    fs::write(folder.join("model.safetensors"), file).unwrap();
}

fn baked(input: &Path, output: &Path) -> Baked {
    let stop = AtomicBool::new(false);
    let precision = Precision::Uniform(Encoding::Q4);
    let options = BakeOptions {
        choices: Choices::default(),
        precision,
        head: None,
        calibration: &[],
        memory_max: None,
        stop: &stop,
    };
    bake(input, output, &options, &mut |_| ()).unwrap()
}

/// Every section but what the blob says about its own making.
fn sections(path: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let blob = Blob::open(&bytes).unwrap();
    let kept = blob.sections().filter(|record| record.key.kind != SectionKind::Provenance);
    kept.map(|record| {
        let (offset, length) = (record.offset as usize, record.bytes as usize);
        (record.key.to_string(), bytes[offset..offset + length].to_vec())
    })
    .collect()
}

/// Bakes a folder, and one with the floats that it is read as.
fn check(quantization: Value, quantized: Tensors) {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    write(&path("quantized"), &config(Some(quantization)), &[rest(), quantized].concat());
    let checkpoint = Checkpoint::open(&path("quantized")).unwrap();
    let mut plain = rest();
    for (name, rows, columns) in MATRICES {
        let name = format!("model.layers.0.{name}.weight");
        let values = checkpoint.read(&name).unwrap();
        assert!(values.iter().any(|value| *value != 0.0));
        plain.push((name, "F32", vec![rows, columns], floats(values.into_iter())));
    }
    write(&path("plain"), &config(None), &plain);

    let told = baked(&path("quantized"), &path("quantized.tack")).warnings;
    assert_eq!(
        told.iter().filter(|line| line.contains("rounded a second time")).count(),
        1,
        "{told:?}"
    );
    let told = baked(&path("plain"), &path("plain.tack")).warnings;
    assert!(told.iter().all(|line| !line.contains("second time")), "{told:?}");
    assert!(sections(&path("quantized.tack")) == sections(&path("plain.tack")));
}

#[test]
fn float8_with_scales_of_blocks() {
    let mut tensors = Tensors::new();
    for (name, rows, columns) in MATRICES {
        let name = format!("model.layers.0.{name}.weight");
        let blocks = [rows.div_ceil(48), columns.div_ceil(32)];
        let scales = codes(blocks[0] * blocks[1], 3)
            .into_iter()
            .map(|code| (f32::from(code) + 1.0) / 100_000.0);
        tensors.push((format!("{name}_scale_inv"), "F32", blocks.to_vec(), floats(scales)));
        tensors.push((name, "F8_E4M3", vec![rows, columns], codes(rows * columns, 5)));
    }
    check(
        json!({"quant_method": "fp8", "weight_block_size": [48, 32], "modules_to_not_convert": ["q_proj"]}),
        tensors,
    );
}

#[test]
fn gptq_with_an_order_of_columns() {
    const GROUPS: usize = 2;
    let mut tensors = Tensors::new();
    for (name, outputs, inputs) in MATRICES {
        let part = |part: &str| format!("model.layers.0.{name}.{part}");
        let halves = codes(GROUPS * outputs, 11)
            .into_iter()
            .flat_map(|code| (0x1c00 + u16::from(code)).to_le_bytes());
        let groups =
            codes(inputs, 13).into_iter().flat_map(|code| i32::from(code & 1).to_le_bytes());
        tensors.push((
            part("qweight"),
            "I32",
            vec![inputs / 8, outputs],
            codes(inputs * outputs / 2, 5),
        ));
        tensors.push((
            part("qzeros"),
            "I32",
            vec![GROUPS, outputs / 8],
            codes(GROUPS * outputs / 2, 9),
        ));
        tensors.push((part("scales"), "F16", vec![GROUPS, outputs], halves.collect()));
        tensors.push((part("g_idx"), "I32", vec![inputs], groups.collect()));
    }
    check(json!({"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": true}), tensors);
}
