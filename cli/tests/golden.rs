//! Every family, and the model that is shipped, against the logits that `transformers` gives.

mod common;

use std::path::Path;

use common::reference::{largest_difference, references};
use common::{FAMILIES, bake_at, fixtures};
use hardtack::format::Encoding;
use hardtack::{Engine, KvPrecision, Options, Session, SessionOptions};

/// Largest difference from the reference that a logit may have.
const TOLERANCE: f32 = 1e-3;

fn session(engine: &Engine, batch: usize) -> Session {
    let options = SessionOptions { context: 128, batch, kv: KvPrecision::F32 };
    engine.session(&options).unwrap()
}

fn open(blob: &Path, kernels: &str, threads: usize) -> Engine {
    Engine::open(blob, &Options { threads, kernels: Some(kernels.to_owned()), ..Options::default() }).unwrap()
}

/// Feeds a prompt in pieces of these sizes, the last one repeated, and gives all logits.
fn logits_in_pieces(session: &mut Session, prompt: &[u32], pieces: &[usize]) -> Vec<f32> {
    let mut all = Vec::new();
    let mut rest = prompt;
    let mut sizes = pieces.iter().chain(std::iter::repeat(pieces.last().unwrap()));
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        session.feed_each(piece, |_, logits| all.extend_from_slice(logits)).unwrap();
        rest = after;
    }
    all
}

fn greedy(session: &mut Session, prompt: &[u32], count: usize) -> Vec<u32> {
    let best = |logits: &[f32]| {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        logits.iter().position(|&logit| logit == largest).unwrap() as u32
    };
    let mut next = best(session.feed(prompt).unwrap());
    let mut tokens = vec![next];
    while tokens.len() < count {
        next = best(session.feed(&[next]).unwrap());
        tokens.push(next);
    }
    tokens
}

fn check_family(family: &str) {
    let Some(fixtures) = fixtures() else { return };
    check(&fixtures.join(family), family);
}

/// Holds a checkpoint at f32 to its `reference.safetensors` on every tier, whatever the threads and pieces.
fn check(folder: &Path, family: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("model.tack");
    bake_at(folder, &blob, Encoding::F32);
    for tier in hardtack::kernel_tiers() {
        for (threads, batch) in [(1, 64), (2, 32)] {
            let engine = open(&blob, tier.name, threads);
            for (index, reference) in references(folder).iter().enumerate() {
                let whole = logits_in_pieces(&mut session(&engine, batch), &reference.prompt, &[96]);
                let error = largest_difference(&whole, &reference.logits);
                assert!(error <= TOLERANCE, "{family}, {}, prompt {index}: logits differ by {error}", tier.name);
                for pieces in [&[1][..], &[7], &[32], &[32, 1, 7, 1]] {
                    let parts = logits_in_pieces(&mut session(&engine, batch), &reference.prompt, pieces);
                    let error = largest_difference(&parts, &whole);
                    assert!(error == 0.0, "{family}, {}, prompt {index}, pieces {pieces:?}: {error}", tier.name);
                }
                let tokens = greedy(&mut session(&engine, batch), &reference.prompt, reference.greedy.len());
                assert_eq!(tokens, reference.greedy, "{family}, {}, prompt {index}", tier.name);
            }
        }
    }
}

#[test]
fn crumb() {
    check(&common::crumb(), "crumb");
}

/// One test for each family, so that one that fails does not hide the others.
macro_rules! families {
    // `llama "llama";` becomes `#[test] fn llama() { check_family("llama") }`.
    ($($name:ident $family:literal;)*) => {
        $(#[test] fn $name() { check_family($family); })*

        #[test]
        fn no_family_is_left_out() {
            assert_eq!([$($family),*], FAMILIES);
        }
    };
}

families! {
    llama "llama";
    llama_rope3 "llama-rope3";
    qwen3 "qwen3";
    mixtral "mixtral";
    olmoe "olmoe";
    qwen2_moe "qwen2_moe";
    qwen3_moe "qwen3_moe";
    granitemoe "granitemoe";
    deepseek_v2 "deepseek_v2";
    gpt_oss "gpt_oss";
}
