//! Bakes that measure the quantized model and share the bits out again by what they found.

use std::fs;
use std::sync::atomic::AtomicBool;

use crate::program::{Argument, USAGE, names, run};
use hardtack::{Engine, Options};
use hardtack_converter::CalibratedBake;
use hardtack_converter::allocation::Target;
use hardtack_converter::bake::{HeldOut, Stage, Step};
use hardtack_testing::calibrated::{Bake, allocated, interrupted, same_verdict, small};
use hardtack_testing::crumb;
use serde::Deserialize;

const REFINEMENTS: usize = 2;

/// What a measurement leaves while it is under way.
#[derive(Deserialize)]
struct Measured {
    divergences: Vec<f64>,
}

fn divergence(held_out: &[HeldOut]) -> f64 {
    held_out.iter().map(|own| own.divergence).sum::<f64>() / held_out.len() as f64
}

/// What every refined bake must say, beside the one that was left as it was.
fn agrees(refined: &CalibratedBake, plain: &CalibratedBake) {
    let passes = &refined.refined;
    let (last, earlier) = passes.split_last().expect("a refinement");
    assert!(
        earlier.iter().all(|own| own.stays()),
        "the first that does not help is the last: {passes:?}"
    );
    assert!(passes.windows(2).all(|pair| pair[1].before == pair[0].after), "{passes:?}");
    assert_eq!(passes[0].before, divergence(&plain.allocated.held_out));
    let best = if last.stays() { last.after } else { last.before };
    assert_eq!(divergence(&refined.allocated.held_out), best);
    let stays = passes[0].stays();
    assert_eq!(refined.allocated.factors.is_empty(), !stays);
    assert_eq!(refined.allocated.held_out == plain.allocated.held_out, !stays);
}

/// At 1.5 bits an expert the first layers cost more than their own blocks show.
#[test]
fn the_shipped_model_gains_at_few_bits() {
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("crumb.tack");
    let bake = Bake::of(&crumb(), Target::ExpertBits(1.5));
    let plain = bake.run(&output);
    let refined = Bake { refinements: REFINEMENTS, ..bake }.run(&output);
    agrees(&refined, &plain);
    let (before, after) =
        (divergence(&plain.allocated.held_out), divergence(&refined.allocated.held_out));
    assert!(after < 0.95 * before, "{before} to {after}");
    let factors = &refined.allocated.factors;
    assert_eq!(
        factors.len(),
        6,
        "experts of every layer, and what has no choice is not measured: {factors:?}"
    );
    assert_eq!(factors[5].parts, "experts of layer 5");
    assert!(factors[2].factor > 1.5 * factors[5].factor, "{factors:?}");
    assert_eq!(refined.allocated.expert_bits, Some(1.5));
    assert_eq!(names(scratch.path()), ["crumb.tack", "crumb.tack.tables"]);
    let engine = Engine::open_with(&output, &Options::new().verify(true)).unwrap();
    assert_eq!(allocated(&engine), refined.allocated);
    same_verdict(&crumb(), &output, &refined);
    let inspected = run(&[&"inspect", &output]).succeeded().out;
    assert!(inspected.contains("\ncosts measured, and taken times "), "{inspected}");
}

#[test]
fn an_interrupted_refinement_goes_on_and_gives_the_same_blob() {
    let Some(checkpoint) = small("qwen3_moe") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let plain = Bake::of(checkpoint.path(), Target::Bytes(350_000));
    let bake =
        Bake { refinements: REFINEMENTS, ..Bake::of(checkpoint.path(), Target::Bytes(350_000)) };
    let mut total = 0;
    let mut show =
        |step: Step| total = if step.stage == Stage::Refine { step.total } else { total };
    let whole = bake.try_run(&path("whole.tack"), &AtomicBool::new(false), &mut show).unwrap();
    let plain = plain.run(&path("plain.tack"));
    agrees(&whole, &plain);
    assert!(whole.baked.file_bytes <= 350_000);

    let stopped = path("stopped.tack");
    // Early, while the first group is measured; later, with some measured; and going on from those.
    let mut kept = Vec::new();
    for at in [total / 20, total / 2, total * 3 / 4] {
        interrupted(&bake, &stopped, Stage::Refine, at);
        let bytes = fs::read(path("stopped.tack.refined.1.json")).unwrap_or_default();
        let measured =
            serde_json::from_slice(&bytes).map_or(0, |own: Measured| own.divergences.len());
        kept.push(measured);
    }
    assert!(kept[0] == 0 && 0 < kept[1] && kept[1] < kept[2], "{kept:?}");
    bake.run(&stopped);
    assert!(fs::read(path("whole.tack")).unwrap() == fs::read(&stopped).unwrap());
    let left: Vec<String> =
        names(scratch.path()).into_iter().filter(|name| name.starts_with("stopped")).collect();
    assert_eq!(left, ["stopped.tack", "stopped.tack.tables"]);
    // A file that is no measurement, or one of other codes, is made again.
    for text in ["{", r#"{"codes": "00", "divergences": [0.5]}"#] {
        fs::write(path("again.tack.refined.1.json"), text).unwrap();
        bake.run(&path("again.tack"));
        assert!(fs::read(path("whole.tack")).unwrap() == fs::read(path("again.tack")).unwrap());
    }
    let stop = AtomicBool::new(true);
    assert!(
        bake.try_run(&path("never.tack"), &stop, &mut |_| ()).is_err()
            && !path("never.tack").exists()
    );
}

/// A dense model's attention and blocks are measured too: everything that a budget in bytes leaves
/// a choice.
#[test]
fn a_dense_model_is_refined_by_its_blocks() {
    let Some(checkpoint) = small("llama") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("small.tack");
    let bake = Bake::of(checkpoint.path(), Target::Bytes(130_000));
    let plain = bake.run(&output);
    let refined = Bake { refinements: REFINEMENTS, ..bake }.run(&output);
    agrees(&refined, &plain);
    let parts: Vec<&str> = refined.allocated.factors.iter().map(|own| own.parts.as_str()).collect();
    if !parts.is_empty() {
        assert!(
            parts.contains(&"attention of layer 0") && parts.contains(&"common block of layer 1"),
            "{parts:?}"
        );
    }
}

#[test]
fn the_program_says_what_a_refinement_came_to() {
    let Some(checkpoint) = small("mixtral") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (input, output) = (checkpoint.path(), scratch.path().join("small.tack"));
    let text = crumb().join("texts/novels-en.txt");
    let flags = [
        "--bits-per-expert",
        "1.5",
        "--refine=1",
        "--calib-window",
        "128",
        "--calib-tokens",
        "512",
    ];
    let more = ["--judge-tokens", "256", "--kv-tokens", "0", "--tune", "0"];
    let mut arguments: Vec<Argument<'_>> = vec![&"bake", &input, &"-o", &output, &"--calib", &text];
    arguments.extend(flags.iter().chain(&more).map(|flag| flag as Argument<'_>));
    let said = run(&arguments).succeeded().out;
    assert!(said.contains("  refinement 1: mean divergence on text held out 0."), "{said}");
    assert_eq!(said.matches("refinement").count(), 1, "{said}");
    arguments.push(&"--progressive");
    let found = run(&arguments);
    assert_eq!(found.code, Some(USAGE), "{found:#?}");
    assert!(found.err.contains("--refine") && found.err.contains("--progressive"), "{found:#?}");
}
