//! Bakes whose bits are chosen by calibration, on small checkpoints of every family and on the model that is shipped.

mod common;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use common::checkpoint::Checkpoint;
use common::{FAMILIES, crumb};
use hardtack::format::{Encoding, SectionKind};
use hardtack::{Engine, KvPrecision, Options, SessionOptions};
use hardtack_converter::bake::{Allocated, Method, Stage, Target};
use hardtack_converter::calibrate::{Domain, Model, Sampler, Sampling, TuneSettings};
use hardtack_converter::source::{self, Form};
use hardtack_converter::vocabulary::from_folder;
use hardtack_converter::{BakeError, CalibrateOptions, CalibratedBake, bake_calibrated};
use serde::Deserialize;

const SAMPLING: Sampling = Sampling { window: 128, tokens: 1024, held_out_tokens: 512 };

fn texts() -> Vec<(String, PathBuf)> {
    ["wikipedia-en", "novels-en"]
        .map(|name| (name.to_owned(), crumb().join("texts").join(format!("{name}.txt"))))
        .to_vec()
}

struct Bake {
    input: PathBuf,
    target: Target,
    method: Method,
    tune: Option<TuneSettings>,
    texts: Vec<(String, PathBuf)>,
    sampling: Sampling,
}

impl Bake {
    fn of(input: &Path, target: Target) -> Self {
        Self { input: input.to_owned(), target, method: Method::Global, tune: None, texts: texts(), sampling: SAMPLING }
    }

    fn run(&self, output: &Path) -> CalibratedBake {
        self.try_run(output, &AtomicBool::new(false), &mut |_, _, _| ()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_run(
        &self,
        output: &Path,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(Stage, u64, u64),
    ) -> Result<CalibratedBake, BakeError> {
        let options = CalibrateOptions {
            target: self.target,
            method: self.method,
            head: None,
            texts: &self.texts,
            sampling: self.sampling,
            tune: self.tune,
            kv_tokens: 0,
            boundary_bytes_max: 1 << 30,
            stop,
        };
        bake_calibrated(&self.input, output, &options, progress)
    }
}

/// A small checkpoint with a token for every byte.
fn small(family: &str) -> Option<Checkpoint> {
    let checkpoint = Checkpoint::of(family)?;
    checkpoint.save().save_tokenizer();
    Some(checkpoint)
}

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

#[derive(Deserialize)]
struct Provenance {
    allocation: Allocated,
}

fn allocated(engine: &Engine) -> Allocated {
    let section = engine.section(SectionKind::Provenance).expect("provenance");
    serde_json::from_slice::<Provenance>(section).expect("an allocation").allocation
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

    let engine = Engine::open(&output, &Options { verify: true, ..Options::default() }).unwrap();
    let bits: Vec<u32> = expert_bits(&engine).concat();
    let said = allocated(&engine);
    let average = f64::from(bits.iter().sum::<u32>()) / bits.len() as f64;
    assert_eq!(said.expert_bits, Some(average));
    assert!(bits.iter().any(|own| *own != bits[0]), "all experts alike");
    assert_eq!(said, baked.allocated);
    assert!(said.cost >= said.bound && said.cost < said.bound * 1.01, "{} over {}", said.cost, said.bound);
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
    for (index, method) in [Method::Global, Method::PerLayer, Method::Uniform].into_iter().enumerate() {
        let bake = Bake { method, ..Bake::of(checkpoint.path(), Target::ExpertBits(2.4)) };
        let calibrated = Cell::new(false);
        let baked = bake
            .try_run(&output, &AtomicBool::new(false), &mut |stage, _, _| {
                calibrated.set(calibrated.get() || stage == Stage::Calibrate);
            })
            .unwrap();
        assert_eq!(calibrated.get(), index == 0, "{method:?}");
        let engine = Engine::open(&output, &Options::default()).unwrap();
        let bits = expert_bits(&engine);
        let average = |bits: &[u32]| f64::from(bits.iter().sum::<u32>()) / bits.len() as f64;
        assert!(average(&bits.concat()) <= 2.4);
        match method {
            Method::Global => assert!(average(&bits.concat()) > 2.3),
            Method::PerLayer => assert!(bits.iter().all(|layer| average(layer) <= 2.4 && average(layer) > 2.3)),
            Method::Uniform => assert!(bits.iter().all(|layer| layer.iter().all(|own| *own == layer[0]))),
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
    for (stage, at) in [(Stage::Calibrate, 60), (Stage::Quantize, 10), (Stage::Quantize, 45), (Stage::Tune, 1)] {
        let stop = AtomicBool::new(false);
        let seen = Cell::new(0);
        let error = bake
            .try_run(&stopped, &stop, &mut |own, done, _| {
                if own == stage {
                    seen.set(done);
                    stop.store(done >= at, Ordering::Relaxed);
                }
            })
            .unwrap_err();
        assert!(matches!(error, BakeError::Interrupted), "{error}");
        assert!(seen.get() >= at && !stopped.exists(), "stopped at {}", seen.get());
    }
    bake.run(&stopped);
    assert!(fs::read(&whole).unwrap() == fs::read(&stopped).unwrap());
}

/// What the graph computes on codes that are read back is what the kernels compute on the codes themselves: for every family,
/// and for gates that were tuned.
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

/// Compares the losses that a bake says with those of the runtime.
fn same_verdict(input: &Path, output: &Path, baked: &CalibratedBake) {
    let checkpoint = source::Checkpoint::open(input).unwrap();
    let Form::HuggingFace { config, folder } = checkpoint.form() else { panic!("a folder") };
    let text = from_folder(folder, config, Model::open(input).unwrap().spec().vocabulary).unwrap();
    let sampler = Sampler::new(&text).unwrap();
    let engine = Engine::open(output, &Options::default()).unwrap();
    for ((name, path), said) in texts().iter().zip(&baked.allocated.held_out) {
        let held_out = sampler.sample(name, path, SAMPLING).unwrap().held_out;
        let (loss, tokens) = runtime_loss(&engine, &held_out);
        assert_eq!(tokens, said.tokens);
        let found = loss / tokens as f64;
        let (most, family) = (0.002 * said.baked, baked.baked.family);
        assert!((found - said.baked).abs() < most, "{family}, {name}: {found}, and {} said", said.baked);
    }
}

fn runtime_loss(engine: &Engine, text: &Domain) -> (f64, u64) {
    let (mut loss, mut tokens) = (0.0, 0);
    for window in &text.tokens {
        let options = SessionOptions { context: window.len(), kv: KvPrecision::F32, ..SessionOptions::default() };
        let mut session = engine.session(&options).unwrap();
        for pair in window.windows(2) {
            let logits = session.feed(&pair[..1]).unwrap();
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
            loss += sum.ln() + f64::from(largest - logits[pair[1] as usize]);
            tokens += 1;
        }
    }
    (loss, tokens)
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let Some(checkpoint) = small("mixtral") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("small.tack");
    let error = |bake: Bake| {
        let error = bake.try_run(&output, &AtomicBool::new(false), &mut |_, _, _| ()).unwrap_err().to_string();
        assert!(!error.contains('\n') && !output.exists(), "{error}");
        error
    };
    let at = |target| Bake::of(checkpoint.path(), target);
    let short = scratch.path().join("short.txt");
    let on_short = || Bake { texts: vec![("short".to_owned(), short.clone())], ..at(Target::ExpertBits(2.0)) };
    fs::write(&short, "Too short a text.").unwrap();
    let found = error(on_short());
    assert!(found.contains("calibration text short: expected at least 128 tokens in its first four fifths"), "{found}");
    fs::write(&short, b"\xFF\xFE broken".repeat(200)).unwrap();
    let found = error(on_short());
    assert!(found.contains("short.txt") && found.contains("expected UTF-8 text"), "{found}");

    let found = error(at(Target::Bytes(1 << 13)));
    assert!(
        found.starts_with("a budget of 8192 bytes is too small: the smallest blob of this model takes "),
        "{found}"
    );
    let smallest: u64 = found.split_whitespace().rev().nth(1).unwrap().parse().unwrap();
    let found = error(at(Target::Bytes(smallest - 4096)));
    assert!(found.contains("is too small"), "{found}");
    let baked = at(Target::Bytes(smallest)).run(&output);
    assert!(baked.baked.file_bytes <= smallest && baked.baked.file_bytes > smallest - 4096);
    fs::remove_file(&output).unwrap();
    let found = error(at(Target::ExpertBits(0.5)));
    assert!(found.starts_with("allocation: "), "{found}");
}
