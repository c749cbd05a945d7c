//! A bake whose bits are chosen by calibration: costs on the user's texts, one allocation over the
//! whole model, quantization with error feedback, gates tuned to what came of it, and a verdict on
//! text held out; in several rounds of ever smaller budgets, if asked for.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hardtack_format::Encoding;
use hardtack_models::Recipe;

use super::allocation::{Method, Order, Target, part_bytes};
use super::assignment::{Assignment, Part};
use super::claim::Claim;
use super::error::BakeError;
use super::partial_file::{PartialFile, folder_of};
use super::plan::BakePlan;
use super::provenance::{self, Allocated, CalibrationText, HeldOut, STARVED_TOKENS};
use super::refine::{self, Refined};
use super::round::{Rounds, round_path};
use super::target::About;
use super::{Baked, Choices, Progress, kinds, kv, text_of, write};
use crate::calibrate::{
    Domain, Judge, Model, Sampler, Sampling, Settings, TuneSettings, check_texts, compress_bytes,
    default_options, peak_bytes,
};
use crate::source::Checkpoint;
use crate::store::Store;

/// How a calibrated bake goes.
#[derive(Debug)]
pub struct CalibrateOptions<'a> {
    /// What is taken from the checkpoint, and what is put up with.
    pub choices: Choices<'a>,
    /// What the blob must keep to: bytes of the whole file, or bits of the experts.
    pub target: Target,
    /// How it comes there.
    pub course: Course<'a>,
    /// How experts share the bits: globally if nothing is said, and nothing can be said of a model
    /// without experts.
    pub method: Option<Method>,
    /// Encoding of embeddings and head, where it is not left to the allocation.
    pub head: Option<Encoding>,
    /// Names and files of the texts to calibrate on.
    pub texts: &'a [(String, PathBuf)],
    /// How windows are drawn from them.
    pub sampling: Sampling,
    /// How gates are tuned; nothing to leave them alone.
    pub tune: Option<TuneSettings>,
    /// Tokens of each text that the KV policy is made on; 0 for none.
    pub kv_tokens: usize,
    /// Inputs of layers stay in memory up to this many bytes; beyond, they go to a temporary file
    /// beside the output.
    pub boundary_bytes_max: u64,
    /// Most bytes of memory that the bake may take: blocks' inputs go to a file and weights are
    /// read in smaller pieces where that helps, and a bake that cannot keep to it is refused
    /// before it begins.
    pub memory_max: Option<u64>,
    /// Set from elsewhere to stop. What was finished is kept beside the output, and the same bake
    /// goes on from there.
    pub stop: &'a AtomicBool,
}

/// How a calibrated bake comes to its target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Course<'a> {
    /// At once, by the costs of the checkpoint. Then so many times at most the quantized model is
    /// measured, and the bits are shared out again by what costs are found to be; the first time
    /// that does not help on text held out is the last.
    Straight {
        /// How many times at most; 0 to leave the first allocation as it is.
        refinements: usize,
    },
    /// By larger budgets that come before the target, from large to small: a round each, with costs
    /// of what the one before it left.
    Rounds(&'a [Target]),
}

impl Course<'_> {
    /// The budgets before the target.
    fn before(&self) -> &[Target] {
        match self {
            Self::Straight { .. } => &[],
            Self::Rounds(targets) => targets,
        }
    }
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The sources are read for their hashes; counted in bytes.
    Read,
    /// Costs are taken; counted in windows.
    Calibrate,
    /// Matrices are quantized; counted in parts.
    Quantize,
    /// The quantized model is measured, group of parts by group; counted in windows of all layers.
    Refine,
    /// Gates are tuned; counted in steps.
    Tune,
    /// The result is judged on text held out; counted in windows.
    Judge,
    /// The KV policy is made; counted in windows.
    Kv,
    /// The blob is written; counted in bytes.
    Write,
}

/// How far a calibrated bake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The round, from 1.
    pub round: usize,
    /// How many there are.
    pub rounds: usize,
    /// What is being done in it.
    pub stage: Stage,
    /// How much of it is done.
    pub done: u64,
    /// All of it.
    pub total: u64,
}

/// What a calibrated bake made.
#[derive(Clone, Debug)]
pub struct CalibratedBake {
    /// The blob.
    pub baked: Baked,
    /// What the blob says about its bits.
    pub allocated: Allocated,
    /// Bytes of its parts.
    pub parts: Vec<PartBytes>,
    /// Experts whose costs cannot be trusted alone, for they met fewer than 64 tokens: layer,
    /// number, tokens. They were given part of the mean cost of their layer's.
    pub starved: Vec<(usize, usize, u64)>,
    /// The same with the gates as they were, where they were tuned.
    pub untuned: Option<Vec<HeldOut>>,
    /// What refinements came to, where they were asked for.
    pub refined: Vec<Refined>,
}

/// Bytes of one kind of part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PartBytes {
    /// What it is.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: u64,
    /// Its bits a weight, scales included; nothing for what is not matrices.
    pub bits: Option<f64>,
}

/// Bakes the checkpoint at `input` into a blob at `output`, which appears complete or not at all.
/// Beside it stay the tables of costs (`.tables`, of later rounds `.2.tables` and so on): the first
/// serve every other budget. What was quantized and tuned so far stands there too (`.codes`) until
/// the blob is written.
///
/// # Errors
/// The checkpoint or a text cannot be used, the target is too small, the rounds do not go down to
/// it, another bake to the same output is under way, what comes of it is not finite, or `stop` was
/// set.
pub fn bake_calibrated(
    input: &Path,
    output: &Path,
    options: &CalibrateOptions<'_>,
    progress: &mut dyn FnMut(Step),
) -> Result<CalibratedBake, BakeError> {
    let model = Model::open_with(input, options.choices.unused)?;
    check(input, model.recipe(), options)?;
    let checkpoint = model.checkpoint();
    kinds::check(checkpoint, model.recipe())?;
    let (plan, boundary_bytes_max) = plan(checkpoint, model.recipe(), options)?;
    let text = text_of(checkpoint, model.recipe(), &options.choices)?;
    // Held until everything beside the output is done with.
    let _claim = Claim::take(output)?;
    let output_file = PartialFile::create(output)?;
    let sampler = Sampler::new(&text)?;
    let (fit, held_out, calibration) = texts(&sampler, options)?;
    let settings = Settings {
        options: default_options(),
        seed: 0,
        domain_tokens_min: options.sampling.window,
        boundary_bytes_max,
        scratch: folder_of(output),
        output: None,
        stop: options.stop,
    };
    let files = provenance::files(checkpoint);
    let kv_room = if options.kv_tokens > 0 { kv::room(model.spec()) } else { 0 };
    let rounds = options.course.before().len() + 1;
    let unread = provenance::unread(&files)?;
    let about = About {
        recipe: model.recipe(),
        text: &text,
        sources: &unread,
        calibration: &calibration,
        kv_room,
    };
    check_early(&about, &fit, output, options)?;

    let total = unread.iter().map(|file| file.bytes).sum();
    let sources = provenance::hash_files(&files, options.stop, &mut |done| {
        progress(Step { round: 1, rounds, stage: Stage::Read, done, total });
    })?;
    let about = About { sources: &sources, ..about };
    let at = |round, stage, done, total| Step { round, rounds, stage, done, total };
    let judge = Judge::new(&model, &held_out, &settings, &mut |own| {
        progress(at(1, Stage::Judge, own.done, own.total));
    })?;

    let work = Rounds {
        exact: &model,
        fit: &fit,
        judge: &judge,
        about: &about,
        settings: &settings,
        options,
        output,
        rounds,
    };
    let mut last = None;
    for (round, &target) in (1..).zip(options.course.before()) {
        last = Some(work.run(round, target, last, progress)?);
    }
    let mut last = work.run(rounds, options.target, last, progress)?;

    let mut kv_policy = None;
    if options.kv_tokens > 0 {
        let final_model = model.with(last.store.clone());
        let mut on = |done, total| progress(at(rounds, Stage::Kv, done, total));
        if let Some(kv) = kv::section(
            &final_model,
            &sampler,
            options.texts,
            options.kv_tokens,
            &settings,
            &mut on,
        )? {
            last.allocated.kv = Some(kv.about);
            kv_policy = Some(kv.bytes);
        }
    }
    let draft = about.draft(&last.assignment, &last.allocated, kv_policy.as_deref())?;
    write::write(
        checkpoint,
        &draft,
        Some(&last.store),
        &plan,
        output_file,
        options.stop,
        &mut |own: Progress<'_>| {
            progress(at(rounds, Stage::Write, own.done_bytes, own.total_bytes));
        },
    )?;
    for round in 1..=rounds {
        // The blob is written; a scratch file that stays behind only costs its bytes.
        let _ = std::fs::remove_file(round_path(output, round, "codes"));
    }
    for path in refine::scratch_paths(output, options.course) {
        let _ = std::fs::remove_file(path);
    }
    let baked = Baked {
        family: model.recipe().family,
        layers: last.assignment.layers_name(),
        head: last.assignment.head,
        file_bytes: draft.layout.file_bytes(),
        plan,
        tensors: model.recipe().stored_tensors(),
        left_out: model.recipe().left_out(),
        warnings: text
            .warnings
            .iter()
            .cloned()
            .chain(kinds::second_rounding(checkpoint, model.recipe()))
            .collect(),
    };
    let starved = last
        .tables
        .starved(STARVED_TOKENS)
        .iter()
        .map(|own| (own.layer, own.expert, own.tokens))
        .collect();
    let parts = parts(model.recipe(), &last.assignment, draft.layout.file_bytes());
    Ok(CalibratedBake {
        baked,
        allocated: last.allocated,
        parts,
        starved,
        untuned: last.untuned,
        refined: last.refined,
    })
}

/// What it takes of memory, and how much of that may be blocks' inputs: as many as asked for, or
/// what the limit leaves.
fn plan(
    checkpoint: &Checkpoint,
    recipe: &Recipe,
    options: &CalibrateOptions<'_>,
) -> Result<(BakePlan, u64), BakeError> {
    let Sampling { window, tokens, held_out_tokens } = options.sampling;
    let tokens = options.texts.len() * tokens.max(held_out_tokens).max(options.kv_tokens);
    let bytes = |boundary_bytes_max| {
        let statistics =
            peak_bytes(&recipe.spec, tokens, window, default_options().len(), boundary_bytes_max);
        statistics.max(compress_bytes(&recipe.spec, tokens, window))
    };
    let at = |boundary_bytes_max, memory_max| {
        BakePlan::new(checkpoint, recipe, Some(bytes(boundary_bytes_max)), memory_max)
    };
    let whole = at(options.boundary_bytes_max, None)?;
    let over = options.memory_max.map_or(0, |limit| whole.peak_bytes().saturating_sub(limit));
    let boundary_bytes_max = options.boundary_bytes_max.saturating_sub(over);
    Ok((at(boundary_bytes_max, options.memory_max)?, boundary_bytes_max))
}

/// Refuses what no calibration could do.
fn check(input: &Path, recipe: &Recipe, options: &CalibrateOptions<'_>) -> Result<(), BakeError> {
    let asked = match (options.target, options.method) {
        (Target::ExpertBits(_), _) => Some(options.target.to_string()),
        (Target::Bytes(_), method) => method.map(|method| format!("allocation {}", method.name())),
    };
    if let Some(asked) =
        asked.filter(|_| recipe.layers.iter().all(|layer| layer.experts.is_empty()))
    {
        return Err(BakeError::NoExperts { input: input.to_owned(), asked, family: recipe.family });
    }
    let targets: Vec<Target> =
        options.course.before().iter().copied().chain([options.target]).collect();
    for pair in targets.windows(2) {
        let falls = match (pair[0], pair[1]) {
            (Target::Bytes(before), Target::Bytes(next)) => next < before,
            (Target::ExpertBits(before), Target::ExpertBits(next)) => next < before,
            _ => false,
        };
        if !falls {
            return Err(BakeError::Rounds {
                before: pair[0].to_string(),
                found: pair[1].to_string(),
            });
        }
    }
    Ok(())
}

/// Refuses what a bake would otherwise come to after hours: texts that do not fit the model, files
/// in the way, a target below the smallest blob.
fn check_early(
    about: &About<'_>,
    fit: &[Domain],
    output: &Path,
    options: &CalibrateOptions<'_>,
) -> Result<(), BakeError> {
    check_texts(&about.recipe.spec, fit, options.sampling.window)?;
    check_scratch(output, options.course)?;
    let (target, method, head) =
        (options.target, options.method.unwrap_or(Method::Global), options.head);
    let order = Order { target, method, head, ceiling: None, factors: None };
    let room = match options.course {
        Course::Straight { refinements: 0 } => 0,
        Course::Straight { .. } => about.factors_bytes(),
        Course::Rounds(before) => about.round_bytes() * before.len() as u64,
    };
    about.check_target(fit, &order, room)
}

/// Refuses what stands where a bake will keep its tables and codes.
fn check_scratch(output: &Path, course: Course<'_>) -> Result<(), BakeError> {
    let rounds = 1..=course.before().len() + 1;
    let of_rounds = rounds
        .flat_map(|round| ["tables", "codes"].map(|ending| round_path(output, round, ending)));
    for path in of_rounds.chain(refine::scratch_paths(output, course)) {
        if path.is_dir() {
            return Err(BakeError::Write { path, source: std::io::ErrorKind::IsADirectory.into() });
        }
        if path.extension().is_some_and(|ending| ending == "codes") {
            Store::check_place(&path)?;
        }
    }
    Ok(())
}

type Texts = (Vec<Domain>, Vec<Domain>, Vec<CalibrationText>);

fn texts(sampler: &Sampler, options: &CalibrateOptions<'_>) -> Result<Texts, BakeError> {
    let (mut fit, mut held_out, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for (name, path) in options.texts {
        let sample = sampler.sample(name, path, options.sampling)?;
        fit.push(sample.fit);
        held_out.push(sample.held_out);
        texts.push(sample.text);
    }
    Ok((fit, held_out, texts))
}

/// What takes the bytes of a blob.
fn parts(recipe: &Recipe, assignment: &Assignment, file_bytes: u64) -> Vec<PartBytes> {
    type Kind = (&'static str, fn(Part) -> bool);
    let kinds: [Kind; 4] = [
        ("experts", |part| matches!(part, Part::Expert(..))),
        ("attention", |part| matches!(part, Part::Attention(_))),
        ("dense and shared blocks", |part| matches!(part, Part::Common(_))),
        ("embeddings and head", |part| matches!(part, Part::Embedding | Part::Head)),
    ];
    let mut left = file_bytes;
    let mut parts = Vec::new();
    for (name, is_own) in kinds {
        let (bytes, weights) = part_bytes(recipe, assignment, is_own);
        left -= bytes;
        if weights > 0 {
            parts.push(PartBytes { name, bytes, bits: Some(8.0 * bytes as f64 / weights as f64) });
        }
    }
    parts.push(PartBytes {
        name: "all else (tokenizer, gates, norms, index)",
        bytes: left,
        bits: None,
    });
    parts
}
