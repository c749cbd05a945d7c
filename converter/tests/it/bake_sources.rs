//! What a bake says about the types of its source: all that cannot be read are named before
//! anything is written. Codes that are rounded again are reported.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::gguf_support::{F32, File};
use hardtack_converter::{BakeOptions, Baked, Choices, Precision, bake};
use hardtack_format::Encoding;

const IQ4_NL: u32 = 20;
const Q8_0: u32 = 8;

/// Bakes at 8 bits, and counts what was said of progress.
fn baked(input: &Path, output: &Path) -> Result<Baked, String> {
    let stop = AtomicBool::new(false);
    let precision = Precision::Uniform(Encoding::Q8);
    let options = BakeOptions {
        choices: Choices::default(),
        precision,
        head: None,
        calibration: &[],
        memory_max: None,
        stop: &stop,
    };
    let mut steps = 0;
    let result = bake(input, output, &options, &mut |_| steps += 1);
    assert!(result.is_ok() || steps == 0, "refused late");
    result.map_err(|error| error.to_string())
}

/// The shapes of a Llama of one layer, by their names in GGUF files.
const SHAPES: [(&str, &[usize]); 11] = [
    ("token_embd.weight", &[48, 64]),
    ("output_norm.weight", &[64]),
    ("blk.0.attn_norm.weight", &[64]),
    ("blk.0.attn_q.weight", &[64, 64]),
    ("blk.0.attn_k.weight", &[32, 64]),
    ("blk.0.attn_v.weight", &[32, 64]),
    ("blk.0.attn_output.weight", &[64, 64]),
    ("blk.0.ffn_norm.weight", &[64]),
    ("blk.0.ffn_gate.weight", &[128, 64]),
    ("blk.0.ffn_up.weight", &[128, 64]),
    ("blk.0.ffn_down.weight", &[64, 128]),
];

/// The model with some tensors in blocks of 32: a scale of one, and codes.
fn model(kinds: &[(&str, u32)]) -> File {
    let mut file = File::default().text("general.architecture", "llama");
    for (key, value) in [
        ("context_length", 64),
        ("embedding_length", 64),
        ("block_count", 1),
        ("feed_forward_length", 128),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("rope.dimension_count", 16),
    ] {
        file = file.number(&format!("llama.{key}"), value);
    }
    file = file.key("llama.attention.layer_norm_rms_epsilon", F32, &1e-5f32.to_le_bytes());
    for (name, shape) in SHAPES {
        let count: usize = shape.iter().product();
        file = match kinds.iter().find(|(own, _)| *own == name) {
            Some(&(_, kind)) => {
                let codes = if kind == Q8_0 { 32 } else { 16 };
                let block: Vec<u8> =
                    [0, 0x3C].into_iter().chain((0..codes).map(|code| 17 * (code % 15))).collect();
                file.tensor(name, shape, kind, block.repeat(count / 32))
            }
            None => file.floats(name, shape, &vec![0.25; count]),
        };
    }
    file
}

#[test]
fn a_second_rounding_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("model.gguf"), folder.path().join("model.tack"));
    model(&[]).write(&input);
    let plain = baked(&input, &output).unwrap();
    assert_eq!(plain.warnings.len(), 1, "no tokenizer, and nothing else: {:?}", plain.warnings);

    let down = ("blk.0.ffn_down.weight", IQ4_NL);
    model(&[down, ("blk.0.ffn_up.weight", Q8_0), ("blk.0.ffn_gate.weight", Q8_0)]).write(&input);
    let again = baked(&input, &output).unwrap();
    assert_eq!(
        again.warnings[1..],
        [
            "the checkpoint is quantized already: IQ4_NL (4.50 bits a weight, tensors: 1), Q8_0 (8.50 bits a weight, \
          tensors: 2); its weights are rounded a second time, and a bake from weights of 16 bits, where there are \
          some, comes closer to the model"
        ]
    );
}

#[test]
fn types_that_cannot_be_read_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("model.gguf"), folder.path().join("model.tack"));
    model(&[
        ("blk.0.ffn_down.weight", 139),
        ("blk.0.ffn_up.weight", 139),
        ("blk.0.attn_v.weight", 77),
    ])
    .write(&input);
    let line = baked(&input, &output).unwrap_err();
    for words in [
        "model.gguf: 3 of 11 tensors are of types that cannot be read",
        "type 139 (perhaps of the fork ik_llama.cpp) (tensors: 2, the first blk.0.ffn_up.weight)",
        "type 77 (tensors: 1, the first blk.0.attn_v.weight)",
        "take a file of types that llama.cpp has",
    ] {
        assert!(line.contains(words), "{line}");
    }
    assert!(!output.exists());
}

/// The model as a folder, two of its matrices of 16-bit integers.
#[test]
fn a_folder_of_codes_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let config = r#"{"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 48, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true}"#;
    fs::write(folder.path().join("config.json"), config).unwrap();
    let (mut header, mut end) = (Vec::new(), 0);
    for (name, shape) in SHAPES {
        let name = name
            .replace("token_embd", "model.embed_tokens")
            .replace("output_norm", "model.norm")
            .replace("blk.0.attn_norm", "model.layers.0.input_layernorm")
            .replace("blk.0.ffn_norm", "model.layers.0.post_attention_layernorm")
            .replace("blk.0.attn_output", "model.layers.0.self_attn.o_proj")
            .replace("blk.0.attn_", "model.layers.0.self_attn.")
            .replace("blk.0.ffn_", "model.layers.0.mlp.");
        let name = ["q", "k", "v"].into_iter().fold(name, |name, own| {
            name.replace(
                &format!("self_attn.{own}.weight"),
                &format!("self_attn.{own}_proj.weight"),
            )
        });
        let name = ["gate", "up", "down"].into_iter().fold(name, |name, own| {
            name.replace(&format!("mlp.{own}.weight"), &format!("mlp.{own}_proj.weight"))
        });
        let (kind, width) = if name.contains("self_attn.v") { ("I16", 2) } else { ("F32", 4) };
        let start = end;
        end += width * shape.iter().product::<usize>();
        header
            .push(format!(r#""{name}": {{"dtype": "{kind}", "shape": {shape:?}, "data_offsets": [{start}, {end}]}}"#));
    }
    let header = format!("{{{}}}", header.join(", "));
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; end]].concat();
    fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    let line = baked(folder.path(), &folder.path().join("model.tack")).unwrap_err();
    let words = "1 of 11 tensors are of types that cannot be read: I16 (tensors: 1, the first \
                 model.layers.0.self_attn.v_proj.weight)";
    assert!(line.contains(words), "{line}");
}

#[test]
fn any_part_of_a_split_model_is_baked_whole() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.tack");
    for (number, part) in (1..).zip(model(&[]).split(3)) {
        part.write(&folder.path().join(format!("model-{number:05}-of-00003.gguf")));
    }
    let sizes: Vec<u64> = (1..=3)
        .map(|number| {
            baked(&folder.path().join(format!("model-{number:05}-of-00003.gguf")), &output)
                .unwrap()
                .file_bytes
        })
        .collect();
    assert!(sizes.iter().all(|own| *own == sizes[0]), "{sizes:?}");
    fs::remove_file(folder.path().join("model-00003-of-00003.gguf")).unwrap();
    let line = baked(&folder.path().join("model-00001-of-00003.gguf"), &output).unwrap_err();
    assert!(line.contains("model-00003-of-00003.gguf: missing: it is part 3 of 3"), "{line}");
}
