//! Forks of a session, sessions side by side on one engine, and hidden states: each says what a
//! session by itself would, bit for bit.

use std::thread;

use hardtack::format::Encoding;
use hardtack::{
    EmbedOptions, Engine, KvPrecision, Ladder, Options, Pooling, RingBits, RingOptions,
    SamplerOptions, Session, SessionOptions,
};
use hardtack_testing::{bake_at, logits_in_pieces, synthetic};

/// Tokens of a text: more than the ring below holds at its most precise bits.
const TOKENS: usize = 400;

/// An engine of two threads over a small llama of random weights.
fn engine(folder: &tempfile::TempDir) -> Engine {
    let network = synthetic::Network { vocabulary: 320, hidden: 128, layers: 2, context: 512 };
    synthetic::write(folder.path(), network);
    let blob = folder.path().join("model.tack");
    bake_at(folder.path(), &blob, Encoding::Q6);
    Engine::open_with(&blob, &Options::new().threads(2)).unwrap()
}

/// Exact caches, and a ring that demotes and forgets.
fn caches() -> [KvPrecision; 3] {
    let ladder = Ladder::new(&[[8; 2], [4; 2]]).unwrap();
    let ring = RingOptions::new().bytes(220_000).bits(RingBits::Ladder(ladder));
    [KvPrecision::F16, KvPrecision::F32, KvPrecision::Ring(ring)]
}

fn session(engine: &Engine, kv: KvPrecision) -> Session {
    engine.session(&SessionOptions::new().context(512).batch(64).kv(kv)).unwrap()
}

fn text(seed: u32) -> Vec<u32> {
    (0..TOKENS as u32).map(|at| (at * 7919 + at * at % 13 + seed) % 300).collect()
}

#[test]
fn a_fork_goes_on_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(&folder);
    let (one, other) = (text(0), text(5));
    for kv in caches() {
        // In the middle of a chunk, and in a ring after chunks were demoted.
        for split in [1, 70, 300] {
            let mut first = session(&engine, kv);
            first.read(&one[..split]).unwrap();
            let mut fork = first.fork().unwrap();
            assert_eq!((fork.position(), fork.tokens()), (split, first.tokens()));
            let forked = logits_in_pieces(&mut fork, &other[split..], &[64]);
            let went_on = logits_in_pieces(&mut first, &one[split..], &[7]);
            let alone = |rest: &[u32]| {
                let mut session = session(&engine, kv);
                session.read(&one[..split]).unwrap();
                logits_in_pieces(&mut session, rest, &[64])
            };
            assert!(forked == alone(&other[split..]), "{kv:?}: the fork after {split}");
            assert!(went_on == alone(&one[split..]), "{kv:?}: the original after {split}");
            assert!(forked != went_on, "{kv:?}: two texts");
        }
    }
}

#[test]
fn a_fork_of_nothing_is_a_session_without_logits() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(&folder);
    let mut sampler = engine.sampler(SamplerOptions::new()).unwrap();
    let mut fork = session(&engine, KvPrecision::F16).fork().unwrap();
    assert!(fork.choose(&mut sampler).is_err());
    fork.read(&[1]).unwrap();
    let mut second = fork.fork().unwrap();
    assert!(second.choose(&mut sampler).is_err(), "to go on, feed a token");
}

#[test]
fn sessions_side_by_side_say_what_each_says_alone() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(&folder);
    let logits =
        |seed| logits_in_pieces(&mut session(&engine, KvPrecision::F16), &text(seed), &[16]);
    let alone: Vec<Vec<f32>> = (0..3).map(logits).collect();
    let together: Vec<Vec<f32>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..3).map(|seed| scope.spawn(move || logits(seed))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(alone == together);
}

#[test]
fn hidden_states_do_not_depend_on_batches_and_make_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(&folder);
    let tokens = &text(0)[..100];
    let vector = |batch, pooling, normalize| {
        let session = SessionOptions::new().context(128).batch(batch).kv(KvPrecision::F16);
        let options = EmbedOptions::new().session(session).pooling(pooling).normalize(normalize);
        engine.embedder(options).unwrap().embed(tokens).unwrap()
    };
    for pooling in [Pooling::Mean, Pooling::Last] {
        let whole = vector(64, pooling, true);
        assert_eq!(whole, vector(1, pooling, true));
        let length: f32 = whole.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
        // Only the length differs.
        let plain = vector(64, pooling, false);
        let scale = plain[0] / whole[0];
        assert!(plain.iter().zip(&whole).all(|(a, b)| (a - b * scale).abs() < 1e-4));
    }
    assert_ne!(vector(64, Pooling::Mean, true), vector(64, Pooling::Last, true));
}
