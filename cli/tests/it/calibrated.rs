//! Bakes whose bits are chosen by calibration, on small checkpoints of every family and on the
//! model that is shipped.

use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::program::{Argument, run};
use hardtack::format::limits::{HEADER_BYTES, HEADER_HASHED_BYTES, SECTION_RECORD_BYTES};
use hardtack::format::{Blob, Encoding, SectionKind};
use hardtack::{Engine, Options};
use hardtack_converter::BakeError;
use hardtack_converter::allocation::{Method, Target};
use hardtack_converter::bake::Stage;
use hardtack_converter::calibrate::{Model, Sampling, TuneSettings};
use hardtack_testing::calibrated::{Bake, allocated, interrupted, same_verdict, small, texts};
use hardtack_testing::{FAMILIES, crumb};

/// Code bits of every expert that the blob has, layer by layer.
fn expert_bits(engine: &Engine) -> Vec<Vec<u32>> {
    let blob = engine.blob();
    let mut bits = vec![Vec::new(); engine.network().spec.layers.len()];
    for record in blob.sections().filter(|record| record.key.kind == SectionKind::Expert) {
        let own: Vec<Encoding> = blob.tensors(&record).map(|(_, tensor)| tensor.encoding).collect();
        assert!(own.iter().all(|encoding| *encoding == own[0]), "an expert has one encoding");
        bits[record.key.layer as usize].push(own[0].code_bits().expect("codes"));
    }
    bits
}

#[test]
fn a_budget_in_bytes_is_kept_and_used() {
    let Some(checkpoint) = small("qwen3_moe") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("small.tack");
    let budget = 350_000;
    let baked = Bake::of(checkpoint.path(), Target::Bytes(budget)).run(&output);
    let bytes = fs::metadata(&output).unwrap().len();
    assert_eq!(bytes, baked.baked.file_bytes);
    assert!(bytes <= budget && bytes > budget - 4096, "{bytes} of {budget}");
    assert_eq!(baked.parts.iter().map(|part| part.bytes).sum::<u64>(), bytes);

    let engine = Engine::open_with(&output, &Options::new().verify(true)).unwrap();
    let bits: Vec<u32> = expert_bits(&engine).concat();
    let said = allocated(&engine);
    let average = f64::from(bits.iter().sum::<u32>()) / bits.len() as f64;
    assert_eq!(said.expert_bits, Some(average));
    assert!(bits.iter().any(|own| *own != bits[0]), "all experts alike");
    assert_eq!(said, baked.allocated);
    assert!(
        said.cost >= said.bound && said.cost < said.bound * 1.01,
        "{} over {}",
        said.cost,
        said.bound
    );
    let beside: Vec<String> = fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "small.tack")
        .collect();
    assert_eq!(beside, ["small.tack.tables"]);
}

#[test]
fn bits_per_expert_are_kept_by_every_method_and_tables_serve_again() {
    let Some(checkpoint) = small("qwen3_moe") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("small.tack");
    let mut costs = Vec::new();
    for (index, method) in
        [Method::Global, Method::PerLayer, Method::Uniform].into_iter().enumerate()
    {
        let bake =
            Bake { method: Some(method), ..Bake::of(checkpoint.path(), Target::ExpertBits(2.4)) };
        let calibrated = Cell::new(false);
        let baked = bake
            .try_run(&output, &AtomicBool::new(false), &mut |step| {
                calibrated.set(calibrated.get() || step.stage == Stage::Calibrate);
            })
            .unwrap();
        assert_eq!(calibrated.get(), index == 0, "{method:?}");
        let engine = Engine::open_with(&output, &Options::default()).unwrap();
        let bits = expert_bits(&engine);
        let average = |bits: &[u32]| f64::from(bits.iter().sum::<u32>()) / bits.len() as f64;
        assert!(average(&bits.concat()) <= 2.4);
        match method {
            Method::Global => assert!(average(&bits.concat()) > 2.3),
            Method::PerLayer => {
                assert!(bits.iter().all(|layer| average(layer) <= 2.4 && average(layer) > 2.3))
            }
            Method::Uniform => {
                assert!(bits.iter().all(|layer| layer.iter().all(|own| *own == layer[0])))
            }
        }
        costs.push(baked.allocated.cost);
    }
    assert!(costs[0] < costs[1] && costs[1] < costs[2], "{costs:?}");
}

#[test]
fn an_interrupted_bake_goes_on_and_gives_the_same_blob() {
    let Some(checkpoint) = small("qwen3_moe") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (whole, stopped) = (scratch.path().join("whole.tack"), scratch.path().join("stopped.tack"));
    let tune = Some(TuneSettings { batch: 4, ..TuneSettings::default() });
    let bake = Bake { tune, ..Bake::of(checkpoint.path(), Target::ExpertBits(2.0)) };
    bake.run(&whole);
    for (stage, at) in
        [(Stage::Calibrate, 60), (Stage::Quantize, 10), (Stage::Quantize, 45), (Stage::Tune, 1)]
    {
        interrupted(&bake, &stopped, stage, at);
    }
    bake.run(&stopped);
    assert!(fs::read(&whole).unwrap() == fs::read(&stopped).unwrap());
}

/// What the graph computes on codes that are read back is what the kernels compute on the codes
/// themselves: for every family, and for gates that were tuned.
#[test]
fn the_verdict_is_the_runtimes_own() {
    let scratch = tempfile::tempdir().unwrap();
    for family in FAMILIES {
        let Some(checkpoint) = small(family) else { return };
        let output = scratch.path().join(format!("{family}.tack"));
        // Room for about 4 bits a weight.
        let target = match Model::open(checkpoint.path())
            .unwrap()
            .spec()
            .layers
            .iter()
            .any(|own| own.feed_forward.experts().is_some())
        {
            true => Target::ExpertBits(3.3),
            false => Target::Bytes(130_000),
        };
        let tune = Some(TuneSettings { rate: 0.02, batch: 2, ..TuneSettings::default() });
        let baked = Bake { tune, ..Bake::of(checkpoint.path(), target) }.run(&output);
        same_verdict(checkpoint.path(), &output, &baked);
    }
}

#[test]
fn the_shipped_model_is_calibrated_and_judged() {
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("crumb.tack");
    let budget = 5 << 20;
    let baked = Bake::of(&crumb(), Target::Bytes(budget)).run(&output);
    assert!(baked.baked.file_bytes <= budget && baked.baked.file_bytes > budget - (32 << 10));
    for held_out in &baked.allocated.held_out {
        assert!(held_out.divergence > 0.0 && held_out.divergence < 0.3, "{held_out:?}");
    }
    same_verdict(&crumb(), &output, &baked);
}

/// The sizes of blobs are known before any cost is: a target below the smallest one, or a file in
/// the way, is refused before the first pass, and the size that is named as the smallest is one
/// that is begun with.
#[test]
fn what_must_fail_fails_before_the_first_pass() {
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("crumb.tack");
    let refused = |bake: &Bake| -> String {
        let error = bake
            .try_run(&output, &AtomicBool::new(false), &mut |step| panic!("{step:?}"))
            .unwrap_err();
        error.to_string()
    };
    let begun = |bake: &Bake| {
        let stop = AtomicBool::new(false);
        let error =
            bake.try_run(&output, &stop, &mut |_| stop.store(true, Ordering::Relaxed)).unwrap_err();
        assert!(matches!(error, BakeError::Interrupted), "{error}");
    };
    let at = |target| Bake::of(&crumb(), target);
    let smallest = |bake: &Bake| -> u64 {
        let line = refused(bake);
        assert!(
            line.contains(" bytes is too small: the smallest blob of this model takes "),
            "{line}"
        );
        line.split_whitespace().rev().nth(1).unwrap().parse().unwrap()
    };
    let least = smallest(&at(Target::Bytes(1 << 13)));
    assert_eq!(smallest(&at(Target::Bytes(least - 1))), least);
    begun(&at(Target::Bytes(least)));
    // What refinements say of themselves takes bytes too.
    let refined = |target| Bake { refinements: 1, ..at(target) };
    assert!(smallest(&refined(Target::Bytes(least))) > least);

    assert_eq!(
        refused(&at(Target::ExpertBits(0.99))),
        "0.99 bits per expert are too few: the smallest mean that works is 1"
    );
    refused(&at(Target::ExpertBits(f64::NAN)));
    let long = Bake {
        sampling: Sampling { window: 1 << 14, tokens: 1 << 14, held_out_tokens: 1 << 14 },
        ..at(Target::Bytes(1 << 30))
    };
    refused(&long);
    let twice = Bake { texts: [texts(), texts()].concat(), ..at(Target::Bytes(1 << 30)) };
    assert!(refused(&twice).contains("texts of different names"), "{}", refused(&twice));
    fs::write(scratch.path().join("crumb.tack.codes"), "somebody's").unwrap();
    assert!(refused(&at(Target::Bytes(1 << 30))).contains("crumb.tack.codes"));
    fs::remove_file(scratch.path().join("crumb.tack.codes")).unwrap();
    for name in ["crumb.tack.tables", "crumb.tack.refined.1.json"] {
        fs::create_dir(scratch.path().join(name)).unwrap();
        assert!(refused(&refined(Target::Bytes(1 << 30))).contains(name));
        fs::remove_dir(scratch.path().join(name)).unwrap();
    }
    fs::write(scratch.path().join("crumb.tack.refined.1.codes"), "somebody's").unwrap();
    assert!(refused(&refined(Target::Bytes(1 << 30))).contains("crumb.tack.refined.1.codes"));
    let left: Vec<String> = fs::read_dir(scratch.path())
        .unwrap()
        .map(|own| own.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, ["crumb.tack.refined.1.codes"]);
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let Some(checkpoint) = small("mixtral") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("small.tack");
    let error = |bake: Bake| {
        let error =
            bake.try_run(&output, &AtomicBool::new(false), &mut |_| ()).unwrap_err().to_string();
        assert!(!error.contains('\n') && !output.exists(), "{error}");
        error
    };
    let at = |target| Bake::of(checkpoint.path(), target);
    let short = scratch.path().join("short.txt");
    let on_short =
        || Bake { texts: vec![("short".to_owned(), short.clone())], ..at(Target::ExpertBits(2.0)) };
    fs::write(&short, "Too short a text.").unwrap();
    let found = error(on_short());
    assert!(
        found.contains(
            "calibration text short: expected at least 128 tokens in its first four fifths"
        ),
        "{found}"
    );
    fs::write(&short, b"\xFF\xFE broken".repeat(200)).unwrap();
    let found = error(on_short());
    assert!(found.contains("short.txt") && found.contains("expected UTF-8 text"), "{found}");

    let found = error(at(Target::Bytes(1 << 13)));
    assert!(
        found.starts_with(
            "a budget of 8192 bytes is too small: the smallest blob of this model takes "
        ),
        "{found}"
    );
    let smallest: u64 = found.split_whitespace().rev().nth(1).unwrap().parse().unwrap();
    let found = error(at(Target::Bytes(smallest - 4096)));
    assert!(found.contains("is too small"), "{found}");
    let baked = at(Target::Bytes(smallest)).run(&output);
    assert!(baked.baked.file_bytes <= smallest && baked.baked.file_bytes > smallest - 4096);
    fs::remove_file(&output).unwrap();
    let found = error(at(Target::ExpertBits(0.5)));
    assert_eq!(found, "0.5 bits per expert are too few: the smallest mean that works is 1");
}

#[test]
fn experts_that_are_not_there_get_no_bits() {
    let Some(checkpoint) = small("llama") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("small.tack");
    let text = &texts()[0].1;
    let flags: [&[&str]; 2] =
        [&["--bits-per-expert", "2.5"], &["--budget", "200KiB", "--allocation", "global"]];
    for flags in flags {
        let input = checkpoint.path();
        let mut arguments: Vec<Argument<'_>> =
            vec![&"bake", &input, &"-o", &output, &"--calib", text];
        arguments.extend(flags.iter().map(|flag| flag as Argument<'_>));
        run(&arguments).refused(&["needs a model with experts", "family llama", "has none"]);
    }
    assert!(!output.exists());
}

/// An expert in the place of another, every hash of the file made right again.
#[test]
fn a_gate_is_bound_to_its_experts() {
    let Some(checkpoint) = small("mixtral") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (good, bad) = (scratch.path().join("good.tack"), scratch.path().join("bad.tack"));
    let tune = Some(TuneSettings { rate: 0.02, batch: 2, ..TuneSettings::default() });
    let method = Some(Method::Uniform);
    Bake { tune, method, ..Bake::of(checkpoint.path(), Target::ExpertBits(3.0)) }.run(&good);
    let seen = run(&[&"inspect", &good, &"--verify"]).succeeded().out;
    assert!(seen.contains("all hashes verified, routers bound to their experts"), "{seen}");

    let mut file = fs::read(&good).unwrap();
    let blob = Blob::open(&file).unwrap();
    let places: Vec<usize> = (0..blob.sections().len())
        .map(|index| HEADER_BYTES + index * SECTION_RECORD_BYTES)
        .collect();
    let experts = blob
        .sections()
        .zip(places)
        .filter(|(own, _)| own.key.kind == SectionKind::Expert && own.key.layer == 1);
    let [(one, at), (other, _), ..] = experts.collect::<Vec<_>>()[..] else {
        panic!("two experts of layer 1")
    };
    let index_bytes = blob.header().index_bytes();
    assert_eq!(one.bytes, other.bytes);
    file.copy_within(
        other.offset as usize..(other.offset + other.bytes) as usize,
        one.offset as usize,
    );
    file[at + SECTION_RECORD_BYTES - 32..at + SECTION_RECORD_BYTES].copy_from_slice(&other.hash);
    let sealed =
        [&file[..HEADER_HASHED_BYTES], &file[HEADER_BYTES..HEADER_BYTES + index_bytes]].concat();
    file[HEADER_HASHED_BYTES..HEADER_HASHED_BYTES + 32]
        .copy_from_slice(blake3::hash(&sealed).as_bytes());
    Blob::open(&file).unwrap().verify().expect("a valid blob");
    fs::write(&bad, &file).unwrap();
    run(&[&"inspect", &bad]).succeeded();
    run(&[&"inspect", &bad, &"--verify"]).refused(&[
        "bad.tack",
        "layer 1",
        "not those that were baked together",
    ]);
}

/// Two bakes with one output wrote into each other's scratch file; the blob of one had NaN for
/// weights, and passed every check.
#[test]
fn a_second_bake_to_the_same_output_is_refused_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("crumb.tack");
    let bake = |bits| Bake::of(&crumb(), Target::ExpertBits(bits));
    let stop = AtomicBool::new(false);
    let mut refused = String::new();
    let ended = bake(2.5).try_run(&output, &stop, &mut |_| {
        let second =
            bake(3.5).try_run(&output, &AtomicBool::new(false), &mut |step| panic!("{step:?}"));
        refused = second.unwrap_err().to_string();
        stop.store(true, Ordering::Relaxed);
    });
    assert!(matches!(ended, Err(BakeError::Interrupted)));
    let holder = format!("crumb.tack: process {} is baking to this output", std::process::id());
    assert!(refused.contains(&holder), "{refused}");
    // The first one's end frees the output.
    stop.store(false, Ordering::Relaxed);
    let again = bake(3.5).try_run(&output, &stop, &mut |_| stop.store(true, Ordering::Relaxed));
    assert!(matches!(again, Err(BakeError::Interrupted)));
    assert!(!scratch.path().join("crumb.tack.lock").exists());
}
