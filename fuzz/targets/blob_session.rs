//! Any header, index, spec and policy in front of a valid blob's weights, with every hash made
//! right, opened by the runtime: a session over an exact cache and one over a ring, a few tokens
//! each, give tokens of the vocabulary.
#![no_main]

use std::ops::ControlFlow;
use std::sync::LazyLock;

use hardtack::{
    Engine, KvPrecision, Load, Options, RingBits, RingOptions, SamplerOptions, SessionOptions,
};
use hardtack_fuzz::{TempFile, build, seal};
use libfuzzer_sys::fuzz_target;

/// What a blob and a session may take: a spec can name far more, which is refused.
const MEMORY_BYTES: u64 = 64 << 20;

static VALID: LazyLock<Vec<u8>> = LazyLock::new(build::sample);
static FILE: LazyLock<TempFile> = LazyLock::new(|| TempFile::new("blob"));

fuzz_target!(|head: &[u8]| {
    hardtack_fuzz::keep_limit();
    let mut file = VALID.clone();
    let changed = head.len().min(file.len());
    file[..changed].copy_from_slice(&head[..changed]);
    seal::seal_all(&mut file);
    FILE.write(&file);
    let options = Options::new().threads(1).load(Load::Resident).memory_max(MEMORY_BYTES);
    let Ok(engine) = Engine::open_with(FILE.path(), &options) else { return };
    let vocabulary = engine.network().spec.vocabulary;
    let ring = KvPrecision::Ring(RingOptions::new().bits(RingBits::Auto));
    for kv in [KvPrecision::F16, ring] {
        let wanted = SessionOptions::new().batch(4).kv(kv);
        let short = wanted.context(80);
        let Ok(mut session) = engine.session(&short).or_else(|_| engine.session(&wanted)) else {
            continue;
        };
        let Ok(mut sampler) = engine.sampler(SamplerOptions::new()) else { continue };
        let mut left = 3;
        let prompt = [0, 1 % vocabulary, vocabulary - 1, 0, 0];
        let _ = session.generate(&prompt, &mut sampler, |token| {
            assert!(token < vocabulary);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        session.truncate(2);
        assert!(session.feed(&[0]).is_ok());
        assert!(session.feed(&[vocabulary]).is_err());
    }
});
