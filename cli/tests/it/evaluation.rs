//! `hardtack eval` on a small model: what the figures must be, and how they hang together.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::program::run;
use hardtack::format::Encoding;
use hardtack_converter::{BakeOptions, CalibrationText, Choices, Precision};
use hardtack_testing::checkpoint::Checkpoint;
use serde_json::Value;

/// The fixture of a mixture of experts with a tokenizer, at these bits for everything.
fn bake(checkpoint: &Checkpoint, folder: &Path, bits: &str) -> PathBuf {
    let blob = folder.join(format!("{bits}.tack"));
    run(&[&"bake", &checkpoint.path(), &"-o", &blob, &"--bits", &bits, &"--head-bits", &bits])
        .succeeded();
    blob
}

fn text() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sample.txt")
}

fn kld(blob: &Path, reference: &Path, more: &[&str]) -> Value {
    let text = text();
    let mut arguments: Vec<crate::program::Argument<'_>> = vec![
        &"eval",
        &"kld",
        &blob,
        &"--against",
        &reference,
        &"--text",
        &text,
        &"--ctx",
        &"64",
        &"--json",
    ];
    arguments.extend(more.iter().map(|word| word as crate::program::Argument<'_>));
    serde_json::from_str(&run(&arguments).succeeded().out).unwrap()
}

fn ppl(blob: &Path, more: &[&str]) -> Value {
    let text = text();
    let mut arguments: Vec<crate::program::Argument<'_>> =
        vec![&"eval", &"ppl", &blob, &"--text", &text, &"--ctx", &"64", &"--json"];
    arguments.extend(more.iter().map(|word| word as crate::program::Argument<'_>));
    serde_json::from_str(&run(&arguments).succeeded().out).unwrap()
}

#[test]
fn divergence_grows_as_bits_fall() {
    let Some(checkpoint) = Checkpoint::of("olmoe") else { return };
    checkpoint.save().save_tokenizer();
    let scratch = tempfile::tempdir().unwrap();
    let [reference, eight, four, two] =
        ["f32", "8", "4", "2"].map(|bits| bake(&checkpoint, scratch.path(), bits));

    let own = kld(&reference, &reference, &["--windows", "4"]);
    assert_eq!(own["divergence_largest"], 0.0);
    assert_eq!(own["top1_agreement"], 1.0);
    assert_eq!(own["perplexity"], own["reference_perplexity"]);
    // Of 64 tokens a window, the last has none after it.
    assert_eq!(own["scored_tokens"], 4 * 63);

    let figures = [&eight, &four, &two].map(|blob| kld(blob, &reference, &["--windows", "4"]));
    let means = figures.each_ref().map(|report| report["divergence_mean"].as_f64().unwrap());
    assert!(0.0 < means[0] && means[0] < means[1] && means[1] < means[2], "{means:?}");
    for report in &figures {
        let quantile = |name: &str| report[name].as_f64().unwrap();
        assert!(quantile("divergence_median") <= quantile("divergence_99th_percentile"));
        assert!(quantile("divergence_99th_percentile") <= quantile("divergence_largest"));
        assert!(quantile("top1_99th_percentile") <= quantile("top1_agreement"));
        // Four windows are too few for an interval.
        assert_eq!(report["divergence_interval"], Value::Null);
    }

    let alone = ppl(&two, &["--windows", "4"]);
    let difference =
        alone["perplexity"].as_f64().unwrap() / figures[2]["perplexity"].as_f64().unwrap() - 1.0;
    assert!(difference.abs() < 1e-9, "{difference}");

    // The same two on the same windows, as perplexities alone.
    let whole = ppl(&two, &["--against", reference.to_str().unwrap()]);
    assert_eq!(
        (&whole["evaluation"], &whole["partial"]),
        (&Value::from("ppl"), &Value::from(false))
    );
    let comparison = &whole["comparison"];
    let [own, other] =
        [&whole["perplexity"], &comparison["perplexity"]].map(|value| value.as_f64().unwrap());
    let ratio = comparison["perplexity_ratio"].as_f64().unwrap();
    assert!((ratio / (own / other) - 1.0).abs() < 1e-9, "{whole}");
    let nats = &comparison["nats_difference"];
    let [low, high] = [0, 1].map(|end| nats["interval"][end].as_f64().unwrap());
    let mean = nats["mean"].as_f64().unwrap();
    assert!(low < mean && mean < high && (mean - ratio.ln()).abs() < 1e-12, "{whole}");
    assert_eq!(nats["excludes_zero"], Value::from(low > 0.0 || high < 0.0));
    let figures = kld(&two, &reference, &[]);
    for field in ["divergence", "top1"] {
        let interval =
            [0, 1].map(|end| figures[format!("{field}_interval")][end].as_f64().unwrap());
        let mean =
            if field == "top1" { &figures["top1_agreement"] } else { &figures["divergence_mean"] };
        assert!(
            interval[0] <= mean.as_f64().unwrap() && mean.as_f64().unwrap() <= interval[1],
            "{figures}"
        );
    }
    let found = figures["comparison"]["nats_difference"]["mean"].as_f64().unwrap();
    assert!((found - mean).abs() < 1e-9, "{found}, not {mean}");

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
    run(&[&"eval", &"ppl", &blob, &"--text", &text, &"--ctx", &"1"])
        .refused(&["window of 1", "nothing to score"]);
    run(&[&"eval", &"ppl", &blob, &"--text", &text, &"--ctx", &"64", &"--skip", &"63"])
        .refused(&["63 skipped"]);
    let short = scratch.path().join("short.txt");
    std::fs::write(&short, "too short").unwrap();
    run(&[&"eval", &"ppl", &blob, &"--text", &short]).refused(&["short.txt", "9 tokens", "512"]);
    run(&[&"eval", &"kld", &blob, &"--against", &short, &"--text", &text])
        .refused(&["short.txt", "is no .tack blob"]);
}

#[test]
fn what_a_blob_was_calibrated_on_does_not_judge_it() {
    let Some(checkpoint) = Checkpoint::of("llama") else { return };
    checkpoint.save().save_tokenizer();
    let scratch = tempfile::tempdir().unwrap();
    let innocent = bake(&checkpoint, scratch.path(), "8");
    let text = text();
    let questions = text.with_file_name("questions.json");
    let calibration = [("prose", &text), ("science", &questions)].map(|(domain, path)| {
        let contents = std::fs::read(path).unwrap();
        CalibrationText {
            domain: domain.to_owned(),
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            bytes: contents.len() as u64,
            blake3: blake3::hash(&contents).to_hex().to_string(),
        }
    });
    let blob = scratch.path().join("calibrated.tack");
    let stop = AtomicBool::new(false);
    let precision = Precision::Uniform(Encoding::Q8);
    let options = BakeOptions {
        choices: Choices::default(),
        precision,
        head: None,
        calibration: &calibration,
        memory_max: None,
        stop: &stop,
    };
    hardtack_converter::bake(checkpoint.path(), &blob, &options, &mut |_| ()).unwrap();
    let report: Value =
        serde_json::from_str(&run(&[&"inspect", &blob, &"--json"]).succeeded().out).unwrap();
    assert_eq!(report["provenance"]["calibration"][1]["domain"], "science");

    // Under another name it is the same text still.
    let copy = scratch.path().join("copy.txt");
    std::fs::copy(&text, &copy).unwrap();
    let words = ["copy.txt", "calibrated.tack", "domain prose", "sample.txt"];
    let task = format!("arc_easy={}", questions.display());
    run(&[&"eval", &"ppl", &blob, &"--text", &copy, &"--ctx", &"64"]).refused(&words);
    for [one, other] in [[&blob, &innocent], [&innocent, &blob]] {
        run(&[&"eval", &"ppl", one, &"--against", other, &"--text", &copy, &"--ctx", &"64"])
            .refused(&words);
        run(&[&"eval", &"kld", one, &"--against", other, &"--text", &copy, &"--ctx", &"64"])
            .refused(&words);
        run(&[&"eval", &"tasks", one, &"--against", other, &"--task", &task]).refused(&[
            "questions.json",
            "calibrated.tack",
            "domain science",
        ]);
    }
    run(&[&"eval", &"ppl", &innocent, &"--text", &copy, &"--ctx", &"64"]).succeeded();

    // One more letter is another text.
    std::fs::write(&copy, std::fs::read_to_string(&text).unwrap() + ".").unwrap();
    run(&[&"eval", &"ppl", &blob, &"--text", &copy, &"--ctx", &"64"]).succeeded();
}
