//! `hardtack eval` on a small model: what the figures must be, and how they hang together.

mod common;

use std::path::{Path, PathBuf};

use common::checkpoint::Checkpoint;
use common::program::run;
use serde_json::Value;

/// The fixture of a mixture of experts with a tokenizer, at these bits for everything.
fn bake(checkpoint: &Checkpoint, folder: &Path, bits: &str) -> PathBuf {
    let blob = folder.join(format!("{bits}.tack"));
    run(&[&"bake", &checkpoint.path(), &"-o", &blob, &"--bits", &bits, &"--head-bits", &bits]).succeeded();
    blob
}

fn text() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sample.txt")
}

fn kld(blob: &Path, reference: &Path, more: &[&str]) -> Value {
    let text = text();
    let mut arguments: Vec<common::program::Argument<'_>> =
        vec![&"eval", &"kld", &blob, &"--against", &reference, &"--text", &text, &"--ctx", &"64", &"--json"];
    arguments.extend(more.iter().map(|word| word as common::program::Argument<'_>));
    serde_json::from_str(&run(&arguments).succeeded().out).unwrap()
}

#[test]
fn divergence_grows_as_bits_fall() {
    let Some(checkpoint) = Checkpoint::of("olmoe") else { return };
    checkpoint.save().save_tokenizer();
    let scratch = tempfile::tempdir().unwrap();
    let [reference, eight, four, two] = ["f32", "8", "4", "2"].map(|bits| bake(&checkpoint, scratch.path(), bits));

    let own = kld(&reference, &reference, &["--windows", "4"]);
    assert_eq!(own["divergence_largest"], 0.0);
    assert_eq!(own["top1_agreement"], 1.0);
    assert_eq!(own["perplexity"], own["reference_perplexity"]);
    // Of 64 tokens a window, the last has nothing behind it.
    assert_eq!(own["scored_tokens"], 4 * 63);

    let figures = [&eight, &four, &two].map(|blob| kld(blob, &reference, &["--windows", "4"]));
    let means = figures.each_ref().map(|report| report["divergence_mean"].as_f64().unwrap());
    assert!(0.0 < means[0] && means[0] < means[1] && means[1] < means[2], "{means:?}");
    for report in &figures {
        let quantile = |name: &str| report[name].as_f64().unwrap();
        assert!(quantile("divergence_median") <= quantile("divergence_99th_percentile"));
        assert!(quantile("divergence_99th_percentile") <= quantile("divergence_largest"));
    }

    let text = text();
    let output = run(&[&"eval", &"ppl", &two, &"--text", &text, &"--ctx", &"64", &"--windows", &"4", &"--json"]);
    let alone: Value = serde_json::from_str(&output.succeeded().out).unwrap();
    let difference = alone["perplexity"].as_f64().unwrap() / figures[2]["perplexity"].as_f64().unwrap() - 1.0;
    assert!(difference.abs() < 1e-9, "{difference}");

    let skipped = kld(&two, &reference, &["--windows", "4", "--skip", "32"]);
    assert_eq!(skipped["scored_tokens"], 4 * 31);
}

#[test]
fn evaluations_that_make_no_sense_are_refused() {
    let Some(checkpoint) = Checkpoint::of("llama") else { return };
    checkpoint.save().save_tokenizer();
    let scratch = tempfile::tempdir().unwrap();
    let blob = bake(&checkpoint, scratch.path(), "8");
    let text = text();
    run(&[&"eval", &"ppl", &blob, &"--text", &text, &"--ctx", &"1"]).refused(&["window of 1", "nothing to score"]);
    run(&[&"eval", &"ppl", &blob, &"--text", &text, &"--ctx", &"64", &"--skip", &"63"]).refused(&["63 skipped"]);
    let short = scratch.path().join("short.txt");
    std::fs::write(&short, "too short").unwrap();
    run(&[&"eval", &"ppl", &blob, &"--text", &short]).refused(&["short.txt", "9 tokens", "512"]);
    run(&[&"eval", &"kld", &blob, &"--against", &short, &"--text", &text]).refused(&["short.txt", "truncated"]);
}
