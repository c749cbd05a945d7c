//! A published model's perplexity against llama.cpp's from the same file at the same windows.

use std::process::Command;

use hardtack::format::Encoding;
use hardtack_testing::{bake_at, data};

/// What `llama-perplexity -c 512 --chunks 16 -ctk f32 -ctv f32` of llama.cpp 0c1e570 says of the
/// same GGUF file turned into F32 by its own `llama-quantize --allow-requantize`, on the WikiText-2
/// test: the mean over the second half of each of the first 16 windows of 512 tokens.
const LLAMA_CPP: f64 = 29.2459;
/// The share by which ours may differ at bf16.
const TOLERANCE: f64 = 1e-3;

#[test]
#[ignore = "reads public files from the folder HARDTACK_DATA"]
fn smollm2_at_bf16_has_the_perplexity_that_llama_cpp_computes() {
    let Some(model) = hardtack_testing::smollm2() else { return };
    let text = data("eval/wikitext-2-raw/wiki.test.raw");
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("smollm2.tack");
    bake_at(&model, &blob, Encoding::Bf16);
    let output = Command::new(env!("CARGO_BIN_EXE_hardtack"))
        .args([
            "eval",
            "ppl",
            "--ctx",
            "512",
            "--skip",
            "256",
            "--windows",
            "16",
            "--json",
            "--text",
        ])
        .args([&text, &blob])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let perplexity = report["perplexity"].as_f64().unwrap();
    let difference = (perplexity / LLAMA_CPP - 1.0).abs();
    assert!(
        difference <= TOLERANCE,
        "perplexity {perplexity}, llama.cpp {LLAMA_CPP}: they differ by {difference}"
    );
}
