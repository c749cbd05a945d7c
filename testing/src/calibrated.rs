//! Calibrated bakes on small texts, and what they say of themselves.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use hardtack::format::SectionKind;
use hardtack::{Engine, KvPrecision, Options, SessionOptions};
use hardtack_converter::allocation::{Method, Target};
use hardtack_converter::bake::{Allocated, Stage, Step, text_sections};
use hardtack_converter::calibrate::{Domain, Model, Sampler, Sampling, TuneSettings};
use hardtack_converter::{BakeError, CalibrateOptions, CalibratedBake, Choices, bake_calibrated};
use serde::Deserialize;

use crate::checkpoint::Checkpoint;
use crate::crumb;

pub const SAMPLING: Sampling = Sampling { window: 128, tokens: 1024, held_out_tokens: 512 };

pub fn texts() -> Vec<(String, PathBuf)> {
    ["wikipedia-en", "novels-en"]
        .map(|name| (name.to_owned(), crumb().join("texts").join(format!("{name}.txt"))))
        .to_vec()
}

pub struct Bake {
    pub input: PathBuf,
    pub target: Target,
    pub method: Option<Method>,
    pub refinements: usize,
    pub tune: Option<TuneSettings>,
    pub texts: Vec<(String, PathBuf)>,
    pub sampling: Sampling,
}

impl Bake {
    pub fn of(input: &Path, target: Target) -> Self {
        Self {
            input: input.to_owned(),
            target,
            method: None,
            refinements: 0,
            tune: None,
            texts: texts(),
            sampling: SAMPLING,
        }
    }

    pub fn run(&self, output: &Path) -> CalibratedBake {
        self.try_run(output, &AtomicBool::new(false), &mut |_| ())
            .unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn try_run(
        &self,
        output: &Path,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(Step),
    ) -> Result<CalibratedBake, BakeError> {
        let options = CalibrateOptions {
            choices: Choices::default(),
            target: self.target,
            method: self.method,
            head: None,
            texts: &self.texts,
            sampling: self.sampling,
            refinements: self.refinements,
            tune: self.tune,
            kv_tokens: 0,
            boundary_bytes_max: 1 << 30,
            memory_max: None,
            stop,
        };
        bake_calibrated(&self.input, output, &options, progress)
    }
}

/// A small checkpoint with a token for every byte.
pub fn small(family: &str) -> Option<Checkpoint> {
    let checkpoint = Checkpoint::of(family)?;
    checkpoint.save().save_tokenizer();
    Some(checkpoint)
}

#[derive(Deserialize)]
struct Provenance {
    allocation: Allocated,
}

pub fn allocated(engine: &Engine) -> Allocated {
    let section = engine.section(SectionKind::Provenance).expect("provenance");
    serde_json::from_slice::<Provenance>(section).expect("an allocation").allocation
}

/// Stops a bake once `at` of a stage is done.
pub fn interrupted(bake: &Bake, output: &Path, stage: Stage, at: u64) {
    let stop = AtomicBool::new(false);
    let seen = Cell::new(0);
    let error = bake
        .try_run(output, &stop, &mut |step| {
            if step.stage == stage {
                seen.set(step.done);
                stop.store(step.done >= at, Ordering::Relaxed);
            }
        })
        .unwrap_err();
    assert!(matches!(error, BakeError::Interrupted), "{error}");
    assert!(seen.get() >= at && !output.exists(), "stopped at {}", seen.get());
}

/// Compares the losses that a bake says with those of the runtime.
pub fn same_verdict(input: &Path, output: &Path, baked: &CalibratedBake) {
    let model = Model::open(input).unwrap();
    let sampler =
        Sampler::new(&text_sections(model.checkpoint(), model.spec().vocabulary).unwrap()).unwrap();
    let engine = Engine::open_with(output, &Options::default()).unwrap();
    for ((name, path), said) in texts().iter().zip(&baked.allocated.held_out) {
        let held_out = sampler.sample(name, path, SAMPLING).unwrap().held_out;
        let (loss, tokens) = runtime_loss(&engine, &held_out);
        assert_eq!(tokens, said.tokens);
        let found = loss / tokens as f64;
        let (most, family) = (0.002 * said.baked, baked.baked.family);
        println!(
            "{family}, {name}, {tokens} tokens: {:.6} nats a token in the graph, {found:.6} in the runtime",
            said.baked
        );
        assert!(
            (found - said.baked).abs() < most,
            "{family}, {name}: {found}, and {} said",
            said.baked
        );
    }
}

fn runtime_loss(engine: &Engine, text: &Domain) -> (f64, u64) {
    let (mut loss, mut tokens) = (0.0, 0);
    for window in &text.tokens {
        let options = SessionOptions::new().context(window.len()).kv(KvPrecision::F32);
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
