//! Any bytes as a saved session, with magic, model and the hash at its end made right: what is
//! accepted goes on from there.
#![no_main]

use std::sync::LazyLock;

use hardtack::{Engine, KvPrecision, Load, Options, RingBits, RingOptions, SessionOptions};
use hardtack_fuzz::{TempFile, build};
use libfuzzer_sys::fuzz_target;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let file = TempFile::new("session-blob");
    file.write(&build::sample());
    let options = Options::new().threads(1).load(Load::Resident);
    Engine::open_with(file.path(), &options).expect("a valid blob")
});
static SAVED: LazyLock<TempFile> = LazyLock::new(|| TempFile::new("session"));
/// The first bytes of every session's file of this model that has no note: magic, length, root
/// hash.
static BEGINNING: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut session = ENGINE.session(&options(0)).expect("a session");
    session.save(SAVED.path(), &[]).expect("a file");
    std::fs::read(SAVED.path()).expect("the file")[..48].to_vec()
});

/// The first byte of an input says how keys and values are kept.
fn options(kind: u8) -> SessionOptions {
    let kv = match kind % 3 {
        0 => KvPrecision::F16,
        1 => KvPrecision::F32,
        _ => KvPrecision::Ring(RingOptions::new().bits(RingBits::Auto)),
    };
    SessionOptions::new().context(200).batch(8).kv(kv)
}

fuzz_target!(|bytes: &[u8]| {
    hardtack_fuzz::keep_limit();
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let mut file = BEGINNING.clone();
    file.extend(bytes);
    let hash = blake3::hash(&file);
    file.extend(hash.as_bytes());
    SAVED.write(&file);
    let mut session = ENGINE.session(&options(kind)).expect("a session");
    if session.restore(SAVED.path()).is_err() {
        assert_eq!(session.position(), 0);
        assert!(session.feed(&[1]).is_ok());
        return;
    }
    assert!(session.tokens().len() <= session.position());
    if session.position() + 2 <= 200 {
        assert!(session.feed(&[1, 2]).is_ok());
    }
    session.truncate(1);
    assert!(session.feed(&[3]).is_ok());
});
