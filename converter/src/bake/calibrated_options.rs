//! How a calibrated bake goes, how far it is, and what it made.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use hardtack_format::Encoding;

use super::options::{Baked, Choices};
use super::provenance::{Allocated, HeldOut};
use crate::allocation::{Method, Target, Wanted};
use crate::calibrate::{Sampling, TuneSettings};

/// How a calibrated bake goes.
#[derive(Debug)]
pub struct CalibrateOptions<'a> {
    /// What is taken from the checkpoint, and what is put up with.
    pub choices: Choices<'a>,
    /// What the blob must keep to: bytes of the whole file, or bits of the experts.
    pub target: Target,
    /// How experts share the bits: globally if none is given, and none may be given for a model
    /// without experts.
    pub method: Option<Method>,
    /// Encoding of embeddings and head, where it is not left to the allocation.
    pub head: Option<Encoding>,
    /// Names and files of the texts to calibrate on.
    pub texts: &'a [(String, PathBuf)],
    /// How windows are drawn from them.
    pub sampling: Sampling,
    /// How often at most the quantized model is measured and the bits are shared out again by what
    /// costs are found to be. The first time that does not help on text held out is the last.
    pub refinements: usize,
    /// How routers are tuned; none to leave them alone.
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

impl CalibrateOptions<'_> {
    /// What is wanted of the allocation.
    pub(super) fn wanted(&self) -> Wanted {
        let Self { target, method, head, .. } = *self;
        Wanted { target, method: method.unwrap_or_default(), head }
    }
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The sources are read for their hashes; counted in bytes.
    Read,
    /// Costs are taken; counted in windows.
    Calibrate,
    /// Matrices are quantized; counted in parts.
    Quantize,
    /// The quantized model is measured, group of parts by group; counted in windows of all layers.
    Refine,
    /// Routers are tuned; counted in steps.
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
    /// What is being done.
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
    /// Experts whose costs cannot be trusted alone, since they saw fewer than 64 tokens: layer,
    /// number, tokens. They were given part of the mean cost of their layer's.
    pub starved: Vec<(usize, usize, u64)>,
    /// The verdict with the routers as they were, where they were tuned.
    pub untuned: Option<Vec<HeldOut>>,
    /// What refinements came to, where they were wanted.
    pub refined: Vec<Refined>,
}

/// Bytes of one kind of part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PartBytes {
    /// What it is.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: u64,
    /// Its bits a weight, scales included; none for what is not matrices.
    pub bits: Option<f64>,
}

/// What one refinement came to, as the mean divergence on the texts held out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refined {
    /// Before it.
    pub before: f64,
    /// After it; it stays if this is less.
    pub after: f64,
}

impl Refined {
    /// Whether it stays.
    pub fn stays(self) -> bool {
        self.after < self.before
    }
}
