//! The shipped model as a newcomer sees it: baked under a budget, run, judged; nothing is fetched.

use std::path::{Path, PathBuf};

use crate::program::run;
use hardtack::{Engine, KvPrecision, Options, SessionOptions};
use hardtack_testing::crumb;
use tempfile::TempDir;

/// Room for about 4.5 bits a weight.
const BUDGET: u64 = 8 << 20;
/// By how much the perplexity of the budgeted blob may lie above that of the weights as they were
/// published.
const WORSE: f64 = 1.05;

fn bake(scratch: &TempDir, name: &str, how: &[&str; 2]) -> PathBuf {
    let blob = scratch.path().join(name);
    run(&[&"bake", &crumb(), &how[0], &how[1], &"-o", &blob]).succeeded();
    blob
}

fn perplexity(blob: &Path) -> f64 {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sample.txt");
    let report =
        run(&[&"eval", &"ppl", &blob, &"--text", &text, &"--ctx", &"256", &"--json"]).succeeded();
    serde_json::from_str::<serde_json::Value>(&report.out).unwrap()["perplexity"].as_f64().unwrap()
}

#[test]
fn the_first_command_of_the_readme() {
    let scratch = tempfile::tempdir().unwrap();
    let blob = bake(&scratch, "crumb.tack", &["--budget", "8MiB"]);
    assert!(std::fs::metadata(&blob).unwrap().len() <= BUDGET);
    let text = || {
        run(&[
            &"run",
            &blob,
            &"-p",
            &"The city of",
            &"-n",
            &"40",
            &"--temperature",
            &"0.8",
            &"--seed",
            &"1",
        ])
    };
    let (first, again) = (text().succeeded(), text().succeeded());
    assert_eq!(first.out, again.out, "a seed decides the text");
    // English: spaces between words of usual length.
    let words = first.out.split_whitespace().count();
    assert!(first.out.starts_with("The city of") && words >= 20, "{}", first.out);
}

#[test]
fn a_budget_of_four_bits_costs_little_perplexity() {
    let scratch = tempfile::tempdir().unwrap();
    let published = perplexity(&bake(&scratch, "bf16.tack", &["--bits", "bf16"]));
    let small = perplexity(&bake(&scratch, "small.tack", &["--budget", "8MiB"]));
    assert!(published < 200.0, "this model has learned: {published}");
    assert!(small < WORSE * published, "{small} against {published}");
}

/// Tokens whose chosen experts have more rows than one pass over experts takes: see `pass_rows`.
const MANY: usize = 900;

#[test]
fn a_long_prompt_is_the_same_at_once_and_in_pieces() {
    let scratch = tempfile::tempdir().unwrap();
    let blob = bake(&scratch, "crumb.tack", &["--budget", "8MiB"]);
    let logits = |threads: usize, batch: usize| {
        let engine = Engine::open_with(&blob, &Options::new().threads(threads)).unwrap();
        let options = SessionOptions::new().context(MANY).batch(batch).kv(KvPrecision::F16);
        let prompt: Vec<u32> =
            (0..MANY as u32).map(|at| at * 37 % engine.network().spec.vocabulary).collect();
        let logits = engine.session(&options).unwrap().feed(&prompt).unwrap().to_vec();
        logits.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let expected = logits(1, 16);
    for (threads, batch) in [(1, 1024), (2, 1024), (2, 700), (1, 1), (2, 1)] {
        assert_eq!(logits(threads, batch), expected, "{threads} threads, {batch} tokens at once");
    }
}
