//! A model's own policy for the bits of its keys and values: made by a calibrated bake, followed by
//! the ring.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hardtack::{
    Engine, KvPrecision, Ladder, Options, RingBits, RingOptions, Session, SessionOptions,
};
use hardtack_converter::allocation::Target;
use hardtack_converter::calibrate::Sampling;
use hardtack_converter::{CalibrateOptions, Choices, bake_calibrated};
use hardtack_testing::checkpoint::Checkpoint;
use hardtack_testing::crumb;

const TOKENS: usize = 700;

/// A small checkpoint of a family, baked with a policy.
fn baked(family: &str, output: &Path) -> Option<Engine> {
    let checkpoint = Checkpoint::of(family)?;
    checkpoint.save().save_tokenizer();
    let texts: [(String, PathBuf); 1] = [("text".to_owned(), crumb().join("texts/novels-en.txt"))];
    let options = CalibrateOptions {
        choices: Choices::default(),
        target: Target::Bytes(1 << 20),
        refinements: 0,
        method: None,
        head: None,
        texts: &texts,
        sampling: Sampling { window: 128, tokens: 256, held_out_tokens: 128 },
        tune: None,
        kv_tokens: 1024,
        boundary_bytes_max: 1 << 30,
        memory_max: None,
        stop: &AtomicBool::new(false),
    };
    let made = bake_calibrated(checkpoint.path(), output, &options, &mut |_| ())
        .unwrap_or_else(|error| panic!("{error}"));
    let about = made.allocated.kv.expect("a policy");
    assert!(about.averages.windows(2).all(|pair| pair[0] > pair[1]), "{:?}", about.averages);
    assert!(std::fs::metadata(output).unwrap().len() <= 1 << 20, "the policy is within the budget");
    Some(Engine::open_with(output, &Options::new().verify(true).threads(1)).unwrap())
}

fn session(engine: &Engine, bytes: u64, bits: RingBits) -> Session {
    let mut options = RingOptions::new().bits(bits);
    // 0 for a ring as large as the context.
    options.bytes = Some(bytes).filter(|&bytes| bytes > 0);
    let kv = KvPrecision::Ring(options);
    engine
        .session(&SessionOptions::new().batch(64).kv(kv))
        .unwrap_or_else(|error| panic!("{error}"))
}

fn tokens(engine: &Engine) -> Vec<u32> {
    let vocabulary = engine.network().spec.vocabulary;
    (0..TOKENS as u32).map(|at| (at * 7919 + at * at % 13) % vocabulary).collect()
}

fn logits(session: &mut Session, tokens: &[u32], piece: usize) -> Vec<u32> {
    let mut all = Vec::new();
    for piece in tokens.chunks(piece) {
        session
            .feed_each(piece, |_, logits| all.extend(logits.iter().map(|logit| logit.to_bits())))
            .unwrap();
    }
    all
}

/// Mean bits of what the ring holds in codes.
fn mean_bits(session: &Session) -> f64 {
    let bits: Vec<u32> =
        session.kv_levels().flat_map(|(_, _, bits)| bits).filter(|&bits| bits > 0).collect();
    f64::from(bits.iter().sum::<u32>()) / bits.len() as f64
}

fn check_family(family: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let Some(engine) = baked(family, &scratch.path().join("model.tack")) else { return };
    let tokens = tokens(&engine);
    let policy = engine.network().kv_policy.as_ref().expect("a policy");
    let mut last = f64::INFINITY;
    for price in &policy.prices {
        let mut own = session(&engine, 0, RingBits::Learned(Some(price.bits)));
        own.feed(&tokens).unwrap();
        let mean = mean_bits(&own);
        assert!(mean <= last, "{family}: {mean} bits at {price:?}, {last} before");
        last = mean;
    }
    assert!(last < 3.5, "{family}: the dearest price leaves {last} bits");

    // In a ring that is too small, chunks go down the prices and are finally forgotten, the same in
    // any pieces.
    let all = session(&engine, 0, RingBits::Auto).kv_bytes();
    let small = || session(&engine, all * 2 / 3, RingBits::Auto);
    let whole = logits(&mut small(), &tokens, TOKENS);
    assert_eq!(whole, logits(&mut small(), &tokens, 33), "{family}: in pieces");
    let mut saved = small();
    saved.feed(&tokens[..500]).unwrap();
    let file = scratch.path().join("session");
    saved.save(&file, &[]).unwrap();
    let mut restored = small();
    restored.restore(&file).unwrap();
    let vocabulary = engine.network().spec.vocabulary as usize;
    assert_eq!(
        logits(&mut restored, &tokens[500..], 64),
        whole[500 * vocabulary..],
        "{family}: restored"
    );
    check_devices(family, &engine, all * 2 / 3, &tokens[..260]);
    // A file of another ladder is none of this one's.
    let fixed = RingBits::Ladder(Ladder::new(&[[4, 4], [2, 2]]).unwrap());
    assert!(session(&engine, all * 2 / 3, fixed).restore(&file).is_err(), "{family}");
}

/// On a device the routers are asked too, about keys that it made: they seldom choose otherwise.
fn check_devices(family: &str, engine: &Engine, bytes: u64, tokens: &[u32]) {
    let mut truth = session(engine, bytes, RingBits::Auto);
    truth.feed(tokens).unwrap();
    for device in hardtack_testing::devices::all_devices() {
        let engine = Engine::open_on(engine.path(), &Options::default(), device).unwrap();
        let small = || session(&engine, bytes, RingBits::Auto);
        let mut own = small();
        let whole = logits(&mut own, tokens, tokens.len());
        let other =
            own.kv_levels().zip(truth.kv_levels()).filter(|(own, truth)| own != truth).count();
        let all = truth.kv_levels().count();
        assert!(
            own.kv_levels().count() == all && other <= all / 8,
            "{family}: {other} of {all} differ"
        );
        assert_eq!(whole, logits(&mut small(), tokens, 50), "{family}: in pieces on a device");
    }
}

#[test]
fn grouped_attention() {
    check_family("qwen3_moe");
}

#[test]
fn latent_attention() {
    check_family("deepseek_v2");
}

#[test]
fn windows_and_sinks() {
    check_family("gpt_oss");
}

#[test]
fn a_model_without_a_policy_says_so() {
    let Some(checkpoint) = Checkpoint::of("llama") else { return };
    checkpoint.save();
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("model.tack");
    hardtack_testing::bake_at(checkpoint.path(), &output, hardtack::format::Encoding::F32);
    let engine = Engine::open_with(&output, &Options::default()).unwrap();
    let kv = KvPrecision::Ring(RingOptions::new().bits(RingBits::Learned(None)));
    let refusal =
        engine.session(&SessionOptions::new().batch(64).kv(kv)).expect_err("refused").to_string();
    assert!(refusal.contains("no policy of its own"), "{refusal}");
    session(&engine, 0, RingBits::Auto).feed(&[1, 2, 3]).unwrap();
}
