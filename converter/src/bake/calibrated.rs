//! A bake whose bits are chosen by calibration: costs on the user's texts, one allocation over the
//! whole model, quantization with error feedback, routers tuned to the result, and a verdict on
//! text held out.

use std::path::Path;

use hardtack_models::Recipe;

use super::calibrated_options::{
    CalibrateOptions, CalibratedBake, PartBytes, Refined, Stage, Step,
};
use super::claim::Claim;
use super::composition::Composition;
use super::error::BakeError;
use super::options::{Baked, Progress};
use super::partial_file::PartialFile;
use super::plan::BakePlan;
use super::provenance::HeldOut;
use super::refine::scratch_paths;
use super::round::{Coded, Rounds, Show};
use super::text::text_of;
use super::{kinds, kv, write};
use crate::allocation::{Factors, Method, STARVED_TOKENS, Target, part_bytes};
use crate::assignment::{Assignment, Part};
use crate::calibrate::{
    Domain, Judge, Model, Sampler, Sampling, Settings, calibrate_once, check_texts, compress_bytes,
    default_options, peak_bytes,
};
use crate::files::{beside, folder_of};
use crate::source::{self, CalibrationText, Checkpoint};
use crate::store::Store;
use crate::vocabulary::TextSections;

/// Bakes the checkpoint at `input` into a blob at `output`, which appears complete or not at all.
/// Beside it stays the table of costs (`.tables`), which serves every other budget. What was
/// quantized and tuned so far is kept there too (`.codes`) until the blob is written.
///
/// # Errors
/// The checkpoint or a text cannot be used, the target is too small, another bake to the same
/// output is under way, the result is not finite, or `stop` was set.
pub fn bake_calibrated(
    input: &Path,
    output: &Path,
    options: &CalibrateOptions<'_>,
    progress: &mut dyn FnMut(Step),
) -> Result<CalibratedBake, BakeError> {
    let mut show = |stage, done, total| progress(Step { stage, done, total });
    let model = Model::open_with(input, options.choices.unused)?;
    let (checkpoint, recipe) = (model.checkpoint(), model.recipe());
    check(input, recipe, options)?;
    kinds::check(checkpoint, recipe)?;
    let (plan, boundary_bytes_max) = plan(checkpoint, recipe, options)?;
    let text = text_of(checkpoint, recipe, &options.choices)?;
    // Held until everything beside the output is done with.
    let _claim = Claim::take(output)?;
    let output_file = PartialFile::create(output)?;
    let sampler = Sampler::new(&text)?;
    let (fit, held_out, calibration) = texts(&sampler, options)?;
    let files = source::files(checkpoint);
    let unread = source::unread(&files)?;
    let composition = Composition {
        recipe,
        text: &text,
        sources: &unread,
        calibration: &calibration,
        kv_room: if options.kv_tokens > 0 { kv::room(model.spec()) } else { 0 },
    };
    check_early(&composition, &fit, output, options)?;

    let total = unread.iter().map(|file| file.bytes).sum();
    let sources = source::hash_files(&files, options.stop, &mut |done| {
        show(Stage::Read, done, total);
    })?;
    let sources = sources.ok_or(BakeError::Interrupted)?;
    let work = Work {
        model: &model,
        sampler: &sampler,
        fit: &fit,
        held_out: &held_out,
        composition: Composition { sources: &sources, ..composition },
        settings: Settings {
            options: default_options(),
            seed: 0,
            domain_tokens_min: options.sampling.window,
            boundary_bytes_max,
            scratch: folder_of(output),
            output: None,
            stop: options.stop,
        },
        options,
        output,
    };
    let mut made = work.code(&mut show)?;
    let kv_policy = work.kv_policy(&mut made.coded, &mut show)?;
    let Coded { assignment, allocated, store } = &made.coded;
    let draft = work.composition.draft(assignment, allocated, kv_policy.as_deref())?;
    let mut written = |own: Progress<'_>| show(Stage::Write, own.done_bytes, own.total_bytes);
    let stop = options.stop;
    write::write(checkpoint, &draft, Some(store), &plan, output_file, stop, &mut written)?;
    for path in scratch(output, options) {
        // The blob is written; a scratch file that is left only costs its bytes.
        let _ = std::fs::remove_file(path);
    }
    Ok(made.described(&model, &text, plan, draft.layout.file_bytes()))
}

/// A bake whose inputs are all known.
struct Work<'a> {
    model: &'a Model,
    sampler: &'a Sampler,
    fit: &'a [Domain],
    held_out: &'a [Domain],
    composition: Composition<'a>,
    settings: Settings<'a>,
    options: &'a CalibrateOptions<'a>,
    output: &'a Path,
}

/// Codes, and how they came about.
struct Made {
    coded: Coded,
    starved: Vec<(usize, usize, u64)>,
    refined: Vec<Refined>,
    untuned: Option<Vec<HeldOut>>,
}

impl Work<'_> {
    /// Takes costs, allocates, quantizes, refines and tunes.
    fn code(&self, show: &mut Show<'_>) -> Result<Made, BakeError> {
        let &Self { model, fit, held_out, ref composition, ref settings, options, output, .. } =
            self;
        let judge = Judge::new(model, held_out, settings, &mut |own| {
            show(Stage::Judge, own.done, own.total);
        })?;
        let tables_path = beside(output, "tables");
        let kept = Settings { output: Some(&tables_path), ..self.settings() };
        let tables = calibrate_once(model, fit, &kept, &mut |own| {
            show(Stage::Calibrate, own.done, own.total);
        })?;
        let allocated = composition.within_target(&tables, &options.wanted(), &Factors::new())?;
        let rounds = Rounds {
            exact: model,
            routers: &model.routers()?,
            fit,
            judge: &judge,
            composition,
            tables: &tables,
            settings,
            options,
            output,
        };
        let mut coded = rounds.quantize(allocated, &beside(output, "codes"), show)?;
        let refined = rounds.refine(&mut coded, show)?;
        let untuned = match options.tune.filter(|_| coded.allocated.expert_bits.is_some()) {
            Some(tune) => rounds.tune(&mut coded, &tune, show)?,
            None => None,
        };
        let starved = tables.starved(STARVED_TOKENS);
        let starved = starved.iter().map(|own| (own.layer, own.expert, own.tokens)).collect();
        Ok(Made { coded, starved, refined, untuned })
    }

    fn settings(&self) -> Settings<'_> {
        Settings { options: self.settings.options.clone(), ..self.settings }
    }

    /// The section of the KV policy, made on the codes; none where it is not wanted, or the texts
    /// are too short.
    fn kv_policy(
        &self,
        coded: &mut Coded,
        show: &mut Show<'_>,
    ) -> Result<Option<Vec<u8>>, BakeError> {
        let (texts, tokens) = (self.options.texts, self.options.kv_tokens);
        if tokens == 0 {
            return Ok(None);
        }
        let baked = self.model.with(coded.store.clone());
        let mut show = |done, total| show(Stage::Kv, done, total);
        let kv = kv::section(&baked, self.sampler, texts, tokens, &self.settings, &mut show)?;
        let Some(kv) = kv else { return Ok(None) };
        coded.allocated.kv = Some(kv.about);
        Ok(Some(kv.bytes))
    }
}

impl Made {
    fn described(
        self,
        model: &Model,
        text: &TextSections,
        plan: BakePlan,
        file_bytes: u64,
    ) -> CalibratedBake {
        let Self { coded: Coded { assignment, allocated, .. }, starved, refined, untuned } = self;
        let recipe = model.recipe();
        let second_rounding = kinds::second_rounding(model.checkpoint(), recipe);
        let baked = Baked {
            family: recipe.family,
            layers: assignment.layers_name(),
            head: assignment.head,
            file_bytes,
            plan,
            tensors: recipe.stored_tensors(),
            left_out: recipe.left_out(),
            warnings: text.warnings.iter().cloned().chain(second_rounding).collect(),
        };
        let parts = parts(recipe, &assignment, file_bytes);
        CalibratedBake { baked, allocated, parts, starved, untuned, refined }
    }
}

/// What it takes of memory, and how much of that may be blocks' inputs: as many as wanted, or
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
        (Target::Bytes(_), method) => {
            method.map(|method: Method| format!("allocation {}", method.name()))
        }
        (target, _) => Some(target.to_string()),
    };
    if let Some(asked) =
        asked.filter(|_| recipe.layers.iter().all(|layer| layer.experts.is_empty()))
    {
        return Err(BakeError::NoExperts { input: input.to_owned(), asked, family: recipe.family });
    }
    Ok(())
}

/// Refuses early what would otherwise fail after hours: texts that do not fit the model, files in
/// the way, a target below the smallest blob.
fn check_early(
    composition: &Composition<'_>,
    fit: &[Domain],
    output: &Path,
    options: &CalibrateOptions<'_>,
) -> Result<(), BakeError> {
    check_texts(&composition.recipe.spec, fit, options.sampling.window)?;
    for path in scratch(output, options).into_iter().chain([beside(output, "tables")]) {
        if path.is_dir() {
            return Err(BakeError::Write { path, source: std::io::ErrorKind::IsADirectory.into() });
        }
        if path.extension().is_some_and(|ending| ending == "codes") {
            Store::check_place(&path)?;
        }
    }
    let room = if options.refinements > 0 { composition.factors_bytes() } else { 0 };
    composition.check_target(fit, &options.wanted(), room)
}

/// Files beside the output that are removed once the blob is written.
fn scratch(output: &Path, options: &CalibrateOptions<'_>) -> Vec<std::path::PathBuf> {
    let mut paths = vec![beside(output, "codes")];
    paths.extend(scratch_paths(output, options.refinements));
    paths
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
        name: "all else (tokenizer, routers, norms, index)",
        bytes: left,
        bits: None,
    });
    parts
}
