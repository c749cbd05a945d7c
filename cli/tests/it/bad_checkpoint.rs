//! Every bad checkpoint, budget and output ends a bake with its exit code, one line on what was
//! expected and found where, and no leftovers.

use std::fs;
use std::path::Path;

use crate::program::{Argument, Outcome, names, run, run_in_shell};
use hardtack_testing::checkpoint::Checkpoint;
use hardtack_testing::fixtures;
use safetensors::tensor::Dtype;
use serde_json::json;

/// Bakes into an empty folder of its own, of which nothing may be left but the blob that was asked
/// for.
fn bake(input: &Path, flags: &[&str]) -> Outcome {
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("model.tack");
    let mut arguments: Vec<Argument<'_>> = vec![&"bake", &input, &"-o", &blob];
    arguments.extend(flags.iter().map(|flag| flag as Argument<'_>));
    let outcome = run(&arguments);
    let expected: &[&str] = if outcome.code == Some(0) { &["model.tack"] } else { &[] };
    assert_eq!(names(scratch.path()), expected, "{outcome:#?}");
    outcome
}

/// A fixture, changed and then baked.
struct Broken {
    family: &'static str,
    change: fn(&mut Checkpoint),
    flags: &'static [&'static str],
    /// What the refusal must say.
    words: &'static [&'static str],
}

const BROKEN: [Broken; 15] = [
    Broken {
        family: "llama",
        change: |model| {
            model.tensors.retain(|tensor| tensor.name != "model.layers.1.self_attn.k_proj.weight")
        },
        flags: &[],
        words: &["model.layers.1.self_attn.k_proj.weight", "missing", "[32, 64]"],
    },
    Broken {
        family: "mixtral",
        change: |model| {
            model.tensors.retain(|tensor| {
                tensor.name != "model.layers.2.block_sparse_moe.experts.7.w3.weight"
            });
        },
        flags: &[],
        words: &["model.layers.2.block_sparse_moe.experts.7.w3.weight", "missing", "[96, 64]"],
    },
    Broken {
        family: "llama",
        change: |model| model.tensor("model.layers.0.mlp.up_proj.weight").shape = vec![64, 160],
        flags: &[],
        words: &[
            "model.layers.0.mlp.up_proj.weight",
            "expected shape [160, 64]",
            "found [64, 160]",
        ],
    },
    Broken {
        family: "llama",
        change: |model| model.tensor("model.norm.weight").shape = vec![8, 8],
        flags: &[],
        words: &["model.norm.weight", "expected shape [64]", "found [8, 8]"],
    },
    Broken {
        family: "llama",
        change: |model| {
            let mut extra = model.tensor("model.norm.weight").clone();
            extra.name = "model.layers.0.self_attn.q_norm.weight".to_owned();
            model.tensors.push(extra);
        },
        flags: &[],
        words: &["model.layers.0.self_attn.q_norm.weight", "[64]", "no place", "llama"],
    },
    Broken {
        family: "llama",
        change: |model| {
            let mut extra = model.tensor("model.norm.weight").clone();
            extra.name = "model.layers.0.self_attn.q_proj.bias".to_owned();
            model.tensors.push(extra);
        },
        flags: &[],
        words: &["model.layers.1.self_attn.q_proj.bias", "missing", "[64]"],
    },
    Broken {
        family: "llama",
        change: |model| model.tensor("model.norm.weight").dtype = Dtype::I32,
        flags: &[],
        words: &["model.norm.weight", "I32", "cannot be read"],
    },
    Broken {
        family: "llama",
        change: |model| model.set("model.layers.2.mlp.down_proj.weight", 1000, f32::NAN),
        flags: &[],
        words: &[
            "model.safetensors",
            "model.layers.2.mlp.down_proj.weight",
            "element 1000",
            "finite",
            "found NaN",
        ],
    },
    Broken {
        family: "llama",
        change: |model| model.set("model.norm.weight", 5, f32::INFINITY),
        flags: &["--bits", "f32"],
        words: &["model.safetensors", "model.norm.weight", "element 5", "finite", "found inf"],
    },
    Broken {
        family: "llama",
        change: |model| model.set("model.layers.1.mlp.gate_proj.weight", 64 * 100 + 3, -70_000.0),
        flags: &["--bits", "4"],
        words: &["model.layers.1.mlp.gate_proj.weight", "row 100", "70000", "q4", "65504"],
    },
    Broken {
        family: "llama",
        change: |model| model.set("lm_head.weight", 64 * 319, 1e30),
        flags: &["--bits", "bf16", "--head-bits", "f16"],
        words: &["lm_head.weight", "row 319", "f16", "65504"],
    },
    Broken {
        family: "llama",
        change: |model| model.config["model_type"] = json!("perceptron\n\u{1b}[2J"),
        flags: &[],
        words: &["model_type", "perceptron", "known are", "llama", "mixtral"],
    },
    Broken {
        family: "llama",
        change: |model| {
            model.config["rope_parameters"] = json!({ "rope_type": "dynamic", "factor": 2.0 })
        },
        flags: &[],
        words: &[
            "rope_parameters.rope_type",
            "dynamic",
            "supported: default, linear, llama3, yarn",
        ],
    },
    Broken {
        family: "olmoe",
        change: |model| model.config["clip_qkv"] = json!(8.0),
        flags: &[],
        words: &["clip_qkv", "8.0", "not supported"],
    },
    Broken {
        family: "llama",
        change: |model| model.config["num_attention_heads"] = json!("four"),
        flags: &[],
        words: &["num_attention_heads", "expected a whole number", "found \"four\""],
    },
];

#[test]
fn broken_checkpoints() {
    for broken in BROKEN {
        let Some(mut model) = Checkpoint::of(broken.family) else { return };
        (broken.change)(&mut model);
        let folder = model.save().path().to_str().unwrap().to_owned();
        eprintln!("expecting {:?}", broken.words);
        bake(model.path(), broken.flags).refused(broken.words).refused(&[&folder]);
    }
}

#[test]
fn weights_beyond_half_floats_fit_wider_encodings() {
    let Some(mut model) = Checkpoint::of("llama") else { return };
    model.set("model.layers.1.mlp.gate_proj.weight", 17, -70_000.0);
    for bits in ["bf16", "f32"] {
        bake(model.save().path(), &["--bits", bits]).succeeded();
    }
}

#[test]
fn broken_files() {
    let Some(model) = Checkpoint::of("llama") else { return };
    let weights = model.save().file("model.safetensors");
    let whole = fs::read(&weights).unwrap();

    fs::write(&weights, &whole[..whole.len() - 1]).unwrap();
    let needed = whole.len().to_string();
    bake(model.path(), &[]).refused(&[
        "model.safetensors",
        "tensor model.norm.weight",
        &needed,
        "ends",
    ]);
    fs::write(&weights, &whole[..100]).unwrap();
    bake(model.path(), &[]).refused(&["model.safetensors", "header", "ends at byte 100"]);
    fs::write(&weights, "").unwrap();
    bake(model.path(), &[]).refused(&["model.safetensors is an empty file", "did not finish"]);
    fs::write(&weights, [&whole[..], &[0]].concat()).unwrap();
    bake(model.path(), &[]).refused(&["model.safetensors", &needed, "expected"]);

    model.save();
    let config = model.file("config.json");
    fs::write(&config, "{\"model_type\": \"llama\",").unwrap();
    bake(model.path(), &[]).refused(&["config.json", "invalid JSON", "line 1"]);
    fs::write(&config, "[]").unwrap();
    bake(model.path(), &[]).refused(&[model.path().to_str().unwrap(), "model_type"]);
    fs::remove_file(&config).unwrap();
    bake(model.path(), &[]).refused(&["expected config.json", "found no config.json"]);
}

#[test]
fn broken_shards() {
    let Some(model) = Checkpoint::of("llama") else { return };
    let (index, second) = ("model.safetensors.index.json", "model-00002-of-00002.safetensors");
    let whole = fs::read(model.save_shards(9).file(second)).unwrap();

    fs::write(model.file(second), &whole[..whole.len() - 4]).unwrap();
    bake(model.path(), &[]).refused(&[second, "ends", &whole.len().to_string()]);
    fs::remove_file(model.file(second)).unwrap();
    bake(model.path(), &[]).refused(&[second, "missing", index]);
    // The second shard has none of the tensors that the index puts there.
    fs::copy(model.file("model-00001-of-00002.safetensors"), model.file(second)).unwrap();
    bake(model.path(), &[]).refused(&[second, "tensor ", "missing", index]);
    fs::write(
        model.file(index),
        "{\"weight_map\": {\"lm_head.weight\": \"../model.safetensors\"}}",
    )
    .unwrap();
    bake(model.path(), &[]).refused(&[index, "without folders", "../model.safetensors"]);
    fs::write(model.file(index), "{}").unwrap();
    bake(model.path(), &[]).refused(&[index, "weight_map"]);
}

#[test]
fn inputs_that_are_no_checkpoint() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = scratch.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    bake(&scratch.path().join("nowhere"), &[]).refused(&["nowhere", "No such file"]);
    bake(&file("novel.txt", b"It was a dark and stormy night."), &[]).refused(&[
        "novel.txt",
        "expected",
        "found",
    ]);
    bake(&file("empty", b""), &[]).refused(&["empty is an empty file", "did not finish"]);
    bake(&file("old.tack", b"\x89TACK\r\n\x1a"), &[])
        .refused(&["old.tack is a .tack blob", "hardtack run"]);
    bake(&file("cut.gguf", b"GGUF\x03\0\0\0\x01"), &[]).refused(&["cut.gguf", "byte"]);
    let folder = scratch.path().join("folder");
    fs::create_dir(&folder).unwrap();
    bake(&folder, &[]).refused(&[
        "folder",
        "not a model",
        "expected config.json",
        "found no config.json",
    ]);
    fs::write(folder.join("config.json"), "{\"model_type\": \"llama\"}").unwrap();
    bake(&folder, &[]).refused(&["folder", "found no model.safetensors"]);
    #[cfg(unix)]
    bake(Path::new("/dev/null"), &[]).refused(&["/dev/null", "expected a file"]);
}

#[test]
fn a_budget_is_held_to_the_byte() {
    let Some(fixtures) = fixtures() else { return };
    let input = fixtures.join("mixtral");
    let refusal =
        bake(&input, &["--budget", "10KiB"]).refused(&["budget of 10240 bytes", "smallest", "q2"]);
    let smallest = refusal.numbers_before("bytes")[1];
    let baked = bake(&input, &["--budget", &smallest.to_string()]).succeeded();
    assert!(baked.out.contains(&format!("({smallest} bytes)")), "{baked:#?}");
    let words = [format!("budget of {} bytes", smallest - 1), format!("takes {smallest} bytes")];
    bake(&input, &["--budget", &(smallest - 1).to_string()]).refused(&[&words[0], &words[1]]);
}

#[test]
fn outputs_that_cannot_be_written() {
    let Some(model) = Checkpoint::of("llama") else { return };
    let before = names(model.save().path());
    let scratch = tempfile::tempdir().unwrap();
    let to = |output: &Path| run(&[&"bake", &model.path(), &"-o", &output]);

    to(&scratch.path().join("nowhere/model.tack"))
        .refused(&["nowhere/model.tack:", "No such file"]);
    to(scratch.path()).refused(&[
        scratch.path().to_str().unwrap(),
        "expected a blob or nothing",
        "found a folder",
    ]);
    #[cfg(unix)]
    to(Path::new("/dev/null")).refused(&["/dev/null", "expected a blob or nothing"]);
    assert!(names(scratch.path()).is_empty());

    for own in ["model.safetensors", "config.json"] {
        let bytes = fs::read(model.file(own)).unwrap();
        to(&model.file(own)).refused(&[own, "expected a blob or nothing", "left as it is"]);
        assert_eq!(fs::read(model.file(own)).unwrap(), bytes);
        assert_eq!(names(model.path()), before);
    }
}

#[cfg(unix)]
#[test]
fn a_gguf_file_is_not_its_own_output() {
    let Some(checkpoint) = hardtack_testing::smollm2() else { return };
    let scratch = tempfile::tempdir().unwrap();
    // By another name, so that a program that fails this test replaces the link and not the model.
    let link = scratch.path().join("model.gguf");
    std::os::unix::fs::symlink(checkpoint.canonicalize().unwrap(), &link).unwrap();
    run(&[&"bake", &link, &"-o", &link]).refused(&[
        "model.gguf",
        "expected a blob or nothing",
        "left as it is",
    ]);
    assert!(link.is_symlink());
    assert_eq!(names(scratch.path()), ["model.gguf"]);
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let Some(fixtures) = fixtures() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("model.tack");
    // A limit of 32 KiB a file, and an error instead of the signal, stand for the end of the disk.
    let script = "trap '' XFSZ; ulimit -f 64; exec hardtack";
    run_in_shell(script, &[&"bake", &fixtures.join("llama"), &"-o", &blob])
        .refused(&["model.tack:", "may write no longer file than 32768 bytes"]);
    assert!(names(scratch.path()).is_empty());

    // A blob that was there before stays as it is.
    run(&[&"bake", &fixtures.join("qwen3"), &"-o", &blob]).succeeded();
    let before = fs::read(&blob).unwrap();
    run_in_shell(script, &[&"bake", &fixtures.join("llama"), &"-o", &blob])
        .refused(&["model.tack:", "may write no longer file than 32768 bytes"]);
    assert_eq!(
        (names(scratch.path()), fs::read(&blob).unwrap()),
        (vec!["model.tack".to_owned()], before)
    );

    let tokens = scratch.path().join("tokens.json");
    fs::write(
        &tokens,
        "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26]",
    )
    .unwrap();
    let out = scratch.path().join("logits.safetensors");
    let logits = [&"eval" as Argument<'_>, &"logits", &blob, &"--tokens", &tokens, &"--out", &out];
    run_in_shell(script, &logits).refused(&["logits.safetensors:", "File too large"]);
    assert_eq!(names(scratch.path()), ["model.tack", "tokens.json"]);
}
