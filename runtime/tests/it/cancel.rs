//! A prompt that is cancelled between the layers of a batch leaves the session as it was.

use hardtack::format::Encoding;
use hardtack::{
    Cancel, Engine, KvPrecision, Ladder, Options, RingBits, RingOptions, Session, SessionOptions,
};
use hardtack_testing::bake_at;
use hardtack_testing::checkpoint::Checkpoint;

/// A batch that is no divisor of a ring's chunks of 64.
const BATCH: usize = 24;

fn engine() -> Engine {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::made();
    checkpoint.save();
    let blob = folder.path().join("model.tack");
    bake_at(checkpoint.path(), &blob, Encoding::Q8);
    Engine::open_with(&blob, &Options::new().threads(1)).unwrap()
}

fn session(engine: &Engine, kv: KvPrecision) -> Session {
    engine.session(&SessionOptions::new().context(256).batch(BATCH).kv(kv)).unwrap()
}

fn ring() -> KvPrecision {
    let bits = RingBits::Ladder(Ladder::new(&[[8; 2], [4; 2]]).unwrap());
    KvPrecision::Ring(RingOptions::new().bits(bits))
}

fn text(engine: &Engine, count: u32) -> Vec<u32> {
    let vocabulary = engine.network().spec.vocabulary;
    (0..count).map(|at| at * 7919 % vocabulary).collect()
}

fn cancelled() -> Cancel {
    let cancel = Cancel::new();
    cancel.cancel();
    cancel
}

#[test]
fn a_batch_that_is_left_between_layers_is_dropped_whole() {
    let engine = engine();
    assert!(engine.network().spec.layers.len() > 1, "there is nothing between one layer");
    let tokens = text(&engine, 70);
    for kv in [KvPrecision::F16, KvPrecision::F32, ring()] {
        let mut whole = session(&engine, kv);
        let expected = whole.feed(&tokens).unwrap().to_vec();
        let mut cut = session(&engine, kv);
        // No batch of 24 from here on begins a chunk of a ring before token 64.
        let before = cut.feed(&tokens[..3]).unwrap().to_vec();
        assert!(!cut.read_unless(&cancelled(), &tokens[3..20]).unwrap(), "{kv:?}");
        assert_eq!((cut.position(), cut.tokens()), (3, &tokens[..3]), "{kv:?}");
        // The last logits are still there, and what follows is what it would have been.
        assert_eq!(cut.feed(&[]).unwrap(), before, "{kv:?}");
        assert!(cut.read_unless(&Cancel::new(), &tokens[3..]).unwrap());
        assert_eq!(cut.feed(&[]).unwrap(), expected, "{kv:?}");
    }
}

#[test]
fn a_ring_that_begins_a_chunk_finishes_the_batch() {
    let engine = engine();
    let tokens = text(&engine, 100);
    let mut whole = session(&engine, ring());
    let expected = whole.feed(&tokens).unwrap().to_vec();
    let mut cut = session(&engine, ring());
    cut.feed(&tokens[..60]).unwrap();
    // Tokens 60 to 83 begin the second chunk; the next batch does not run.
    assert!(!cut.read_unless(&cancelled(), &tokens[60..]).unwrap());
    assert_eq!(cut.position(), 60 + BATCH);
    assert_eq!(cut.feed(&tokens[60 + BATCH..]).unwrap(), expected);
}
