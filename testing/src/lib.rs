//! What tests of several rooms share: the reference checkpoints, small models made from nothing,
//! and how they are baked and run. Not published.
#![allow(missing_docs, reason = "only tests read it")]

pub mod bpe;
#[cfg(feature = "calibrate")]
pub mod calibrated;
pub mod checkpoint;
#[cfg(feature = "cuda")]
pub mod devices;
mod families;
mod fixtures;
mod numbers;
pub mod peak;
pub mod reference;
pub mod small;
pub mod synthetic;

use std::path::Path;
use std::sync::atomic::AtomicBool;

pub use fixtures::{FAMILIES, crumb, data, fixture, fixtures, scratch, skipped, smollm2};
use hardtack::Session;
use hardtack::format::Encoding;
use hardtack_converter::{BakeOptions, Baked, Choices, Precision, bake};
pub use numbers::Numbers;
pub use reference::{Reference, references};

/// Bakes a checkpoint at one encoding for everything.
pub fn bake_at(input: &Path, output: &Path, encoding: Encoding) -> Baked {
    let stop = AtomicBool::new(false);
    let precision = Precision::Uniform(encoding);
    let options = BakeOptions {
        choices: Choices::default(),
        precision,
        head: Some(encoding),
        calibration: &[],
        memory_max: None,
        stop: &stop,
    };
    bake(input, output, &options, &mut |_| ())
        .unwrap_or_else(|error| panic!("{}: {error}", input.display()))
}

/// Feeds tokens in pieces of these sizes, the last one repeated, and returns all logits.
pub fn logits_in_pieces(session: &mut Session, tokens: &[u32], pieces: &[usize]) -> Vec<f32> {
    let mut all = Vec::new();
    let mut rest = tokens;
    let mut sizes = pieces.iter().chain(std::iter::repeat(pieces.last().unwrap()));
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        session.feed_each(piece, |_, logits| all.extend_from_slice(logits)).unwrap();
        rest = after;
    }
    all
}
