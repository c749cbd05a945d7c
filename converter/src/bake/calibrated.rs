//! A bake whose bits are chosen by calibration: costs on the user's texts, one allocation over the whole model, quantization
//! with error feedback, gates tuned to what came of it, and a verdict on text held out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::Tensor;
use hardtack_format::{Encoding, Role, SectionKey};
use hardtack_models::Recipe;

use super::allocation::{Allocation, Method, Target, allocate, assigned_bytes, part_bytes};
use super::assignment::{Assignment, Part};
use super::draft::Draft;
use super::error::BakeError;
use super::partial_file::{PartialFile, beside, folder_of};
use super::provenance::{self, Allocated, CalibrationText, HeldOut, STARVED_TOKENS, SourceFile, rounded};
use super::{Baked, Progress, kv, text_sections, write};
use crate::allocate::AllocateError;
use crate::calibrate::{
    self, CalibrateError, Domain, Gate, Judge, Judged, Model, Sampler, Sampling, Settings, Tables, TuneSettings,
    calibrate_once, compress, default_options, tune_gates,
};
use crate::quantize::encode_rows;
use crate::store::{Shape, Store};
use crate::vocabulary::TextSections;

/// How a calibrated bake goes.
#[derive(Debug)]
pub struct CalibrateOptions<'a> {
    /// What the blob must keep to: bytes of the whole file, or bits of the experts.
    pub target: Target,
    /// How experts share the bits.
    pub method: Method,
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
    /// Inputs of layers stay in memory up to this many bytes; beyond, they go to a temporary file beside the output.
    pub boundary_bytes_max: u64,
    /// Set from elsewhere to stop. What was finished is kept beside the output, and the same bake goes on from there.
    pub stop: &'a AtomicBool,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Costs are taken; counted in windows.
    Calibrate,
    /// Matrices are quantized; counted in parts.
    Quantize,
    /// Gates are tuned; counted in steps.
    Tune,
    /// The result is judged on text held out; counted in windows.
    Judge,
    /// The KV policy is made; counted in windows.
    Kv,
    /// The blob is written; counted in bytes.
    Write,
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
    /// Experts whose costs cannot be trusted alone, for they met fewer than 64 tokens: layer, number, tokens. They were given
    /// part of the mean cost of their layer's.
    pub starved: Vec<(usize, usize, u64)>,
    /// The same with the gates as they were, where they were tuned.
    pub untuned: Option<Vec<HeldOut>>,
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

/// Bytes that a blob's account of its own making may grow by once the verdict is known, for all texts and for each.
const ABOUT_BYTES: u64 = 256;

/// Bakes the checkpoint at `input` into a blob at `output`, which appears complete or not at all. Beside it stay the tables of
/// costs (`.tables`), which serve every other budget; what was quantized so far stands there too (`.codes`) until the blob is
/// written.
///
/// # Errors
/// The checkpoint or a text cannot be used, the target is too small, or `stop` was set.
pub fn bake_calibrated(
    input: &Path,
    output: &Path,
    options: &CalibrateOptions<'_>,
    progress: &mut dyn FnMut(Stage, u64, u64),
) -> Result<CalibratedBake, BakeError> {
    let model = Model::open(input)?;
    let checkpoint = model.checkpoint();
    let text = text_sections(checkpoint, model.spec().vocabulary)?;
    let output_file = PartialFile::create(output)?;
    let (fit, held_out, calibration) = texts(&Sampler::new(&text)?, options)?;
    let (tables_path, codes_path) = (beside(output, "tables"), beside(output, "codes"));
    let settings = Settings {
        options: default_options(),
        seed: 0,
        domain_tokens_min: options.sampling.window,
        boundary_bytes_max: options.boundary_bytes_max,
        scratch: folder_of(output),
        output: Some(&tables_path),
        stop: options.stop,
    };
    let tables = calibrate_once(&model, &fit, &settings, &mut |own| progress(Stage::Calibrate, own.done, own.total))?;

    let sources = provenance::hash_files(&provenance::files(checkpoint), options.stop, &mut |_| ())?;
    let about = About { recipe: model.recipe(), text: &text, sources: &sources, calibration: &calibration };
    let (assignment, mut allocated) = within_target(&about, &tables, options)?;

    let mut store = Store::open(&codes_path, fingerprint(&tables, &assignment))?;
    compress(&model, &fit, &assignment, &mut store, options.stop, &mut |done, total| {
        progress(Stage::Quantize, done, total);
    })?;
    let shared = Arc::new(store);
    let quantized = model.with(shared.clone());
    let judging = &mut |own: calibrate::Progress| progress(Stage::Judge, own.done, own.total);
    let judge = Judge::new(&model, &held_out, &settings, judging)?;
    allocated.held_out = verdict(&judge, &quantized, progress)?;
    let mut untuned = None;
    let mut tuned = Vec::new();
    if let Some(tune) = options.tune.filter(|_| allocated.expert_bits.is_some()) {
        let gates =
            tune_gates(&quantized, &fit, &tune, &settings, &mut |done, total, _| progress(Stage::Tune, done, total))?;
        let after = verdict(&judge, &quantized.with_gates(gates.clone()), progress)?;
        if mean(&after) < mean(&allocated.held_out) {
            untuned = Some(std::mem::replace(&mut allocated.held_out, after));
            "tuned".clone_into(&mut allocated.gates);
            tuned = gates;
        }
    }
    drop(quantized);
    let mut store = Arc::try_unwrap(shared).expect("nothing else holds it");
    for (layer, gate) in (0..).zip(tuned) {
        put_gate(&mut store, layer, gate)?;
    }

    let store = Arc::new(store);
    let mut kv_policy = None;
    if options.kv_tokens > 0 {
        let (last, sampler) = (model.with(store.clone()), Sampler::new(&text)?);
        let mut on = |done, total| progress(Stage::Kv, done, total);
        if let Some(kv) = kv::section(&last, &sampler, options.texts, options.kv_tokens, &settings, &mut on)? {
            allocated.kv = Some(kv.about);
            kv_policy = Some(kv.bytes);
        }
    }
    let store = Arc::try_unwrap(store).expect("nothing else holds it");
    let draft = about.draft(&assignment, &allocated, kv_policy.as_deref())?;
    write::write(checkpoint, &draft, Some(&store), output_file, options.stop, &mut |own: Progress<'_>| {
        progress(Stage::Write, own.done_bytes, own.total_bytes);
    })?;
    // The blob is written; a scratch file that stays behind only costs its bytes.
    let _ = store.remove();
    let baked = Baked {
        family: model.recipe().family,
        layers: assignment.layers_name(),
        head: assignment.head,
        file_bytes: draft.layout.file_bytes(),
        warnings: text.warnings.clone(),
    };
    let starved = tables.starved(STARVED_TOKENS).iter().map(|own| (own.layer, own.expert, own.tokens)).collect();
    let parts = parts(model.recipe(), &assignment, draft.layout.file_bytes());
    Ok(CalibratedBake { baked, allocated, parts, starved, untuned })
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

/// What codes in a scratch file depend on.
fn fingerprint(tables: &Tables, assignment: &Assignment) -> [u8; 32] {
    let header = serde_json::to_vec(&tables.header).expect("plain strings and numbers always serialize");
    let mut hasher = blake3::Hasher::new();
    hasher.update(&header);
    hasher.update(format!("{assignment:?}").as_bytes());
    *hasher.finalize().as_bytes()
}

/// What a blob is made of besides its weights.
struct About<'a> {
    recipe: &'a Recipe,
    text: &'a TextSections,
    sources: &'a [SourceFile],
    calibration: &'a [CalibrationText],
}

impl<'a> About<'a> {
    fn draft(
        &self,
        assignment: &Assignment,
        allocated: &Allocated,
        kv_policy: Option<&[u8]>,
    ) -> Result<Draft<'a>, BakeError> {
        let section =
            provenance::section(self.recipe.family, assignment, self.sources, self.calibration, Some(allocated));
        Draft::with(self.recipe, self.text, &section, kv_policy, assignment.clone())
    }
}

/// The allocation whose blob keeps to the target.
fn within_target(
    about: &About<'_>,
    tables: &Tables,
    options: &CalibrateOptions<'_>,
) -> Result<(Assignment, Allocated), BakeError> {
    let allocation = |target| allocate(about.recipe, tables, target, options.method, options.head);
    let Target::Bytes(budget) = options.target else {
        let own = allocation(options.target)?;
        return Ok((own.assignment.clone(), describe(own, tables, options)));
    };
    // Everything that has no choice: header and index, tokenizer, vectors, gates, padding.
    let uniform = Assignment::uniform(&about.recipe.spec, Encoding::Q4, options.head);
    let blank = Allocation { assignment: uniform.clone(), cost: 0.0, bound: 0.0 };
    let file_bytes = |assignment: &Assignment, allocated: &Allocated| -> Result<u64, BakeError> {
        let kv = if options.kv_tokens > 0 { kv::room(&about.recipe.spec) } else { 0 };
        let room = ABOUT_BYTES * (1 + options.texts.len() as u64) + kv;
        Ok(about.draft(assignment, allocated, None)?.layout.file_bytes() + room)
    };
    let blank = describe(blank, tables, options);
    let fixed = file_bytes(&uniform, &blank)?.saturating_sub(assigned_bytes(about.recipe, &uniform));
    let mut left = budget.saturating_sub(fixed);
    loop {
        let own = match allocation(Target::Bytes(left)) {
            Err(AllocateError::Budget { smallest, .. }) => {
                let own = allocation(Target::Bytes(smallest))?;
                let smallest = file_bytes(&own.assignment, &describe(own.clone(), tables, options))?;
                return Err(BakeError::Floor { budget, smallest });
            }
            own => own?,
        };
        let allocated = describe(own.clone(), tables, options);
        let bytes = file_bytes(&own.assignment, &allocated)?;
        if bytes <= budget {
            return Ok((own.assignment, allocated));
        }
        // Padding depends on the sizes of sections: a little less, and again.
        left = match left.checked_sub(bytes - budget) {
            Some(less) => less,
            None => return Err(BakeError::Floor { budget, smallest: bytes }),
        };
    }
}

fn describe(allocation: Allocation, tables: &Tables, options: &CalibrateOptions<'_>) -> Allocated {
    let tokens_of = |layer: usize, expert: usize| {
        tables.domains.iter().map(|domain| domain.layers[layer].experts[expert].tokens).sum()
    };
    let layers = tables.header.layers.iter().enumerate();
    Allocated {
        method: options.method.name().to_owned(),
        target: match options.target {
            Target::Bytes(bytes) => format!("{bytes} bytes"),
            Target::ExpertBits(bits) => format!("{bits} bits per expert"),
        },
        expert_bits: allocation.assignment.expert_bits(),
        cost: rounded(allocation.cost),
        bound: rounded(allocation.bound),
        tokens: tables.header.domains.iter().map(|own| own.tokens).collect(),
        expert_tokens: layers
            .map(|(layer, own)| (0..own.experts as usize).map(|expert| tokens_of(layer, expert)).collect())
            .collect(),
        gates: "as they were".to_owned(),
        held_out: Vec::new(),
        kv: None,
    }
}

/// How a changed model does on the texts that were held out.
fn verdict(
    judge: &Judge<'_>,
    changed: &Model,
    progress: &mut dyn FnMut(Stage, u64, u64),
) -> Result<Vec<HeldOut>, BakeError> {
    let judged = judge.judge(changed, &mut |own| progress(Stage::Judge, own.done, own.total))?;
    let held_out = |own: Judged| HeldOut {
        domain: own.domain,
        tokens: own.tokens,
        exact: rounded(own.exact),
        baked: rounded(own.changed),
        divergence: rounded(own.divergence),
    };
    Ok(judged.into_iter().map(held_out).collect())
}

/// Mean loss over the texts.
fn mean(held_out: &[HeldOut]) -> f64 {
    held_out.iter().map(|own| own.baked).sum::<f64>() / held_out.len().max(1) as f64
}

fn put_gate(store: &mut Store, layer: u32, gate: Option<Gate>) -> Result<(), BakeError> {
    let Some(Gate { weights, bias }) = gate else { return Ok(()) };
    let values = |tensor: &Tensor| -> Result<Vec<f32>, BakeError> {
        let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
        Ok(values.map_err(CalibrateError::from)?)
    };
    let section = SectionKey::layer(layer);
    let (rows, columns) = weights.dims2().map_err(CalibrateError::from)?;
    let shape = Shape { encoding: Encoding::F32, stack: 1, rows: rows as u32, columns: columns as u32 };
    let bytes = encode_rows(Encoding::F32, &values(&weights)?, columns).map_err(CalibrateError::from)?;
    store.put((section, Role::Gate), shape, &bytes)?;
    if let Some(bias) = bias {
        let shape = Shape { encoding: Encoding::Plain, stack: 1, rows: 1, columns: rows as u32 };
        let bytes: Vec<u8> = values(&bias)?.iter().flat_map(|value| value.to_le_bytes()).collect();
        store.put((section, Role::GateBias), shape, &bytes)?;
    }
    Ok(())
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
    parts.push(PartBytes { name: "all else (tokenizer, gates, norms, index)", bytes: left, bits: None });
    parts
}
