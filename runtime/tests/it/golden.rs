//! Every family, and the model that is shipped, against the logits that `transformers` returns.

use std::path::Path;

use hardtack::format::Encoding;
use hardtack::{Engine, KvPrecision, Options, Session, SessionOptions};
use hardtack_testing::reference::{largest_difference, references};
use hardtack_testing::{bake_at, fixtures, logits_in_pieces};

/// Largest difference from the reference that a logit may have.
const TOLERANCE: f32 = 1e-3;

fn session(engine: &Engine, batch: usize) -> Session {
    let options = SessionOptions::new().context(128).batch(batch).kv(KvPrecision::F32);
    engine.session(&options).unwrap()
}

fn open(blob: &Path, kernels: &str, threads: usize) -> Engine {
    Engine::open_with(blob, &Options::new().threads(threads).kernels(kernels)).unwrap()
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

/// Holds a checkpoint at f32 to its `reference.safetensors` on every tier, whatever the threads and
/// pieces.
fn check(folder: &Path, family: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("model.tack");
    bake_at(folder, &blob, Encoding::F32);
    for tier in hardtack::kernel_tiers() {
        for (threads, batch) in [(1, 64), (2, 32)] {
            let engine = open(&blob, tier.name, threads);
            for (index, reference) in references(folder).iter().enumerate() {
                let whole =
                    logits_in_pieces(&mut session(&engine, batch), &reference.prompt, &[96]);
                let error = largest_difference(&whole, &reference.logits);
                assert!(
                    error <= TOLERANCE,
                    "{family}, {}, prompt {index}: logits differ by {error}",
                    tier.name
                );
                for pieces in [&[1][..], &[7], &[32], &[32, 1, 7, 1]] {
                    let parts =
                        logits_in_pieces(&mut session(&engine, batch), &reference.prompt, pieces);
                    let error = largest_difference(&parts, &whole);
                    assert!(
                        error == 0.0,
                        "{family}, {}, prompt {index}, pieces {pieces:?}: {error}",
                        tier.name
                    );
                }
                let tokens =
                    greedy(&mut session(&engine, batch), &reference.prompt, reference.greedy.len());
                assert_eq!(tokens, reference.greedy, "{family}, {}, prompt {index}", tier.name);
            }
        }
    }
}

#[test]
fn crumb() {
    check(&hardtack_testing::crumb(), "crumb");
}

hardtack_testing::each_family!(check_family);
