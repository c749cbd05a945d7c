//! Every bad input ends with its exit code, one line that says what was expected and found where,
//! and nothing left behind.

use std::fs::{self, OpenOptions};
use std::path::Path;

use crate::blobs::{silent_blob, speaking_blob};
use crate::program::{Argument, FAILED, Outcome, USAGE, names, run, run_in_shell};
use hardtack_testing::checkpoint::{Checkpoint, VOCABULARY};
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

#[test]
fn damaged_blobs() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = speaking_blob(scratch.path()) else { return };
    let whole = fs::read(&blob).unwrap();
    let damaged = scratch.path().join("damaged.tack");
    let inspect = || run(&[&"inspect", &damaged]);
    let verify = || run(&[&"inspect", &damaged, &"--verify"]);

    // Cut anywhere, or with one byte too many.
    for length in [0, 1, 127, 128, 200, whole.len() / 2, whole.len() - 1] {
        fs::write(&damaged, &whole[..length]).unwrap();
        inspect().refused(&["damaged.tack"]);
        let words =
            if length < 128 { ["damaged.tack", "truncated"] } else { ["expected", "found"] };
        run(&[&"run", &damaged, &"-p", &"hi"]).refused(&["damaged.tack"]);
        if length != 200 {
            run(&[&"bench", &damaged, &"--load", &"resident"]).refused(&words);
        }
    }
    fs::write(&damaged, [&whole[..], &[0]].concat()).unwrap();
    inspect().refused(&[
        "file_bytes",
        &format!("expected {}", whole.len()),
        &format!("found {}", whole.len() + 1),
    ]);
    fs::write(&damaged, "It was a dark and stormy night; the rain fell in torrents.".repeat(10))
        .unwrap();
    inspect().refused(&["damaged.tack", "magic"]);
    run(&[&"inspect", &scratch.path().join("nowhere.tack")])
        .refused(&["nowhere.tack", "No such file"]);
    run(&[&"inspect", &scratch.path()]).refused(&[scratch.path().to_str().unwrap()]);

    // A bit that is wrong in the header or the index shows at once, in the weights when every hash
    // is checked.
    let flip = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&damaged, bytes).unwrap();
    };
    for at in [0, 8, 12, 16, 24, 28, 40, 64, 127, 128, 130, 500] {
        flip(at);
        inspect().refused(&["damaged.tack"]);
    }
    flip(whole.len() - 1);
    inspect().succeeded();
    verify().refused(&["damaged.tack", "section layer 2", "hash"]);
    for command in ["run", "chat"] {
        let flags: &[Argument<'_>] = &[&command, &damaged, &"--verify", &"-p", &"hi"];
        run(&flags[..if command == "run" { 5 } else { 3 }]).refused(&["section layer 2", "hash"]);
    }
    fs::write(&damaged, &whole).unwrap();
    assert!(verify().succeeded().out.contains("all hashes verified"));
}

#[test]
fn a_model_without_tokenizer_does_not_speak() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = silent_blob(scratch.path()) else { return };
    let text = scratch.path().join("text");
    fs::write(&text, "a text").unwrap();
    let words = ["silent.tack", "no tokenizer section"];
    run(&[&"run", &blob, &"-p", &"hi"]).refused(&words);
    run(&[&"chat", &blob]).refused(&words);
    run(&[&"eval", &"ppl", &blob, &"--text", &text]).refused(&words);
}

#[test]
fn settings_out_of_range() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = speaking_blob(scratch.path()) else { return };
    let cases: &[(&[&str], &[&str])] = &[
        (&["--kernels", "nonsense"], &["'nonsense'", "available: scalar"]),
        (&["--threads", "5000"], &["threads", "expected 1 to 1024", "found 5000"]),
        (&["--ctx", "513"], &["context", "expected 1 to 512", "found 513"]),
        (&["--batch", "0"], &["batch", "expected 1 to 1024", "found 0"]),
        (&["--batch", "1025"], &["batch", "expected 1 to 1024", "found 1025"]),
        (&["--temperature=-1"], &["temperature", "expected 0 to 100", "found -1"]),
        (&["--temperature", "NaN"], &["temperature", "expected 0 to 100", "found NaN"]),
        (&["--temperature", "inf"], &["temperature", "expected 0 to 100", "found inf"]),
        (&["--top-p", "0"], &["top-p", "found 0"]),
        (&["--top-p", "1.5"], &["top-p", "found 1.5"]),
        (&["--min-p", "2"], &["min-p", "expected 0 to 1", "found 2"]),
        (&["--repetition-penalty", "0"], &["repetition penalty", "found 0"]),
        (&["--stop", ""], &["stop", "empty"]),
        (&["--stop", &"x".repeat(65)], &["stop", "more than 64 bytes"]),
        (&["--stop=a"; 9], &["stop", "more than 8"]),
    ];
    for (flags, words) in cases {
        for first in [&["run", "-p", "hi"][..], &["chat"]] {
            let mut arguments: Vec<Argument<'_>> = Vec::new();
            arguments.extend(first.iter().chain(*flags).map(|flag| flag as Argument<'_>));
            arguments.push(&blob);
            let mut outcome = run(&arguments);
            // A chat says what runs where as soon as its session stands.
            if let Some((greeting, rest)) =
                outcome.err.split_once('\n').filter(|(line, _)| line.starts_with("[kernels"))
            {
                assert!(greeting.ends_with(']'));
                outcome.err = rest.to_owned();
            }
            outcome.refused(words);
        }
    }
    run(&[&"run", &blob, &"-p", &""]).refused(&["prompt is empty"]);
    run(&[&"run", &blob, &"-p", &"x".repeat(513)])
        .refused(&["the prompt has 513 tokens", "512 fit"]);
    run(&[&"bench", &blob, &"--runs", &"0"]).refused(&["at least one run"]);
}

#[test]
fn memory_is_held_to_the_byte() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = speaking_blob(scratch.path()) else { return };
    let run = |memory: u64, context: u64| {
        let (memory, context) = (memory.to_string(), context.to_string());
        run(&[&"run", &blob, &"-p", &"h", &"-n", &"2", &"--memory", &memory, &"--ctx", &context])
    };
    let least = run(1, 512)
        .refused(&["are needed", "limit is 1;", "no context fits"])
        .numbers_before("bytes")[1];
    let all =
        run(least, 512).refused(&["a context of 1 tokens would fit"]).numbers_before("bytes")[0];
    run(all, 512).succeeded();
    run(least, 1).succeeded();
    run(least - 1, 1).refused(&["no context fits", &format!("at least {least} bytes")]);
    for memory in [all - 1, (all + least) / 2, least + 5000] {
        let fits = run(memory, 512)
            .refused(&[&format!("limit is {memory};"), "would fit"])
            .numbers_before("tokens")[0];
        run(memory, fits).succeeded();
        run(memory, fits + 1).refused(&[&format!("a context of {fits} tokens would fit")]);
    }
}

#[test]
fn token_lists_that_are_none() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(blob) = silent_blob(scratch.path()) else { return };
    let (tokens, out) =
        (scratch.path().join("tokens.json"), scratch.path().join("logits.safetensors"));
    let logits = |text: &str| {
        fs::write(&tokens, text).unwrap();
        run(&[&"eval", &"logits", &blob, &"--tokens", &tokens, &"--out", &out])
    };
    logits(&format!("[1, {VOCABULARY}]")).refused(&[
        "tokens.json",
        "token 320",
        "vocabulary size 320",
    ]);
    logits("[1, -1]").refused(&["tokens.json", "expected an array of token ids", "-1"]);
    logits("[1, 4294967296]").refused(&["tokens.json", "4294967296"]);
    logits("{\"tokens\": [1]}").refused(&["tokens.json", "expected an array of token ids", "map"]);
    logits("[1, 2").refused(&["tokens.json", "EOF"]);
    logits("").refused(&["tokens.json", "EOF"]);
    logits("[]").refused(&["tokens.json", "at least one", "found none"]);
    let many = format!("{:?}", vec![1; 513]);
    logits(&many).refused(&["context", "expected 1 to 512", "found 513"]);
    assert_eq!(names(scratch.path()), ["silent.tack", "tokens.json"]);

    OpenOptions::new().write(true).open(&tokens).unwrap().set_len(0).unwrap();
    fs::write(&tokens, "[1]").unwrap();
    let to = |out: &Path| run(&[&"eval", &"logits", &blob, &"--tokens", &tokens, &"--out", &out]);
    to(&scratch.path().join("nowhere/logits")).refused(&["nowhere/logits:", "No such file"]);
    to(scratch.path()).refused(&[scratch.path().to_str().unwrap(), "expected a file"]);
    to(&out).succeeded();
    run(&[&"eval", &"logits", &blob, &"--tokens", &scratch.path().join("nowhere"), &"--out", &out])
        .refused(&["nowhere"]);
}

#[test]
fn command_lines_that_cannot_be_read() {
    let cases: &[&[&str]] = &[
        &[],
        &["fry"],
        &["bake"],
        &["bake", "in"],
        &["bake", "in", "-o", "out", "--bits", "7"],
        &["bake", "in", "-o", "out", "--budget", "lots"],
        &["bake", "in", "-o", "out", "--budget", "0"],
        &["bake", "in", "-o", "out", "--budget", "1MiB", "--bits", "4"],
        &["run", "model"],
        &["run", "model", "-p", "hi", "--temperature", "warm"],
        &["run", "model", "-p", "hi", "--kv-type", "q8"],
        &["run", "model", "-p", "hi", "--ctx", "-1"],
        &["eval", "logits", "model", "--out", "x"],
        &["inspect", "model", "--loud"],
    ];
    for arguments in cases {
        let arguments: Vec<Argument<'_>> =
            arguments.iter().map(|argument| argument as Argument<'_>).collect();
        let outcome = run(&arguments);
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(USAGE), ""), "{outcome:#?}");
        assert!(outcome.err.contains("--help"), "{outcome:#?}");
    }
    assert_ne!(FAILED, USAGE);
    let help = run(&[&"--help"]).succeeded();
    for command in ["bake", "chat", "run", "inspect", "eval", "bench"] {
        assert!(help.out.contains(command), "{command}");
    }
}
