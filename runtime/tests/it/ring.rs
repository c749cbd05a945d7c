//! The ring of keys and values: what a token sees depends on its position alone, whatever the
//! pieces, the threads, what was cached and what was restored; and no file makes it hold what it
//! cannot.

use std::fs;
use std::path::Path;

use hardtack::format::Encoding;
use hardtack::{
    Engine, KvPrecision, Ladder, Options, RingBits, RingOptions, Session, SessionOptions,
};
use hardtack_testing::{FAMILIES, bake_at, fixtures, logits_in_pieces};

/// Tokens of a text: several times what the smallest rings hold, and more than `CONTEXT`, so that
/// sinks are moved.
const TOKENS: usize = 400;
/// Over how many tokens the rings of most tests reach.
const CONTEXT: usize = 256;

fn open(blob: &Path, kernels: Option<&str>, threads: usize) -> Engine {
    let mut options = Options::new().threads(threads);
    options.kernels = kernels.map(str::to_owned);
    Engine::open_with(blob, &options).unwrap()
}

fn text(engine: &Engine) -> Vec<u32> {
    let vocabulary = engine.network().spec.vocabulary;
    (0..TOKENS as u32).map(|at| (at * 7919 + at * at % 13) % vocabulary).collect()
}

fn ring(steps: &[u32], bytes: u64) -> KvPrecision {
    let levels: Vec<_> = steps.iter().map(|&bits| [bits; 2]).collect();
    let mut options = RingOptions::new().bits(RingBits::Ladder(Ladder::new(&levels).unwrap()));
    // 0 for a ring that never loses bits.
    options.bytes = Some(bytes).filter(|&bytes| bytes > 0);
    KvPrecision::Ring(options)
}

fn session(engine: &Engine, kv: KvPrecision, batch: usize) -> Session {
    engine.session(&SessionOptions::new().context(CONTEXT).batch(batch).kv(kv)).unwrap()
}

/// The fewest bytes that a ring of these steps takes, as the refusal of fewer says.
fn least_bytes(engine: &Engine, steps: &[u32]) -> u64 {
    let options = SessionOptions::new().context(CONTEXT).batch(1).kv(ring(steps, 1));
    let refusal = engine.session(&options).expect_err("a ring of one byte").to_string();
    let number =
        refusal.strip_prefix("kv: expected at least ").and_then(|rest| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{refusal}"))
}

/// A ring that demotes and forgets, and one that only forgets.
fn small_rings(engine: &Engine) -> [KvPrecision; 2] {
    [
        ring(&[8, 4, 2], least_bytes(engine, &[8, 4, 2]) * 5 / 4),
        ring(&[3], least_bytes(engine, &[3])),
    ]
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// The root mean square of the differences.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    (a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / a.len() as f32).sqrt()
}

fn likeliest(logits: &[f32], vocabulary: usize) -> Vec<usize> {
    let best =
        |logits: &[f32]| (0..vocabulary).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    logits.chunks_exact(vocabulary).map(best).collect()
}

/// Calls `check` with every family baked at full precision.
fn each_family(mut check: impl FnMut(&str, &Path)) {
    let Some(fixtures) = fixtures() else { return };
    let scratch = tempfile::tempdir().unwrap();
    for family in FAMILIES {
        let blob = scratch.path().join(format!("{family}.tack"));
        bake_at(&fixtures.join(family), &blob, Encoding::F32);
        check(family, &blob);
    }
}

#[test]
fn pieces_and_threads_change_nothing() {
    each_family(|family, blob| {
        let (engine, two) = (open(blob, None, 1), open(blob, None, 2));
        let tokens = text(&engine);
        for kv in small_rings(&engine) {
            let whole = logits_in_pieces(&mut session(&engine, kv, 64), &tokens, &[TOKENS]);
            assert!(whole.iter().all(|logit| logit.is_finite()), "{family}, {kv:?}");
            for (batch, pieces) in
                [(64, &[1][..]), (7, &[TOKENS]), (100, &[100]), (64, &[60, 10, 1, 7])]
            {
                let parts = logits_in_pieces(&mut session(&engine, kv, batch), &tokens, pieces);
                assert!(
                    same_bits(&parts, &whole),
                    "{family}, {kv:?}, batches of {batch}, pieces {pieces:?}"
                );
            }
            let threads = logits_in_pieces(&mut session(&two, kv, 64), &tokens, &[TOKENS]);
            assert!(same_bits(&threads, &whole), "{family}, {kv:?}, two threads");
        }
    });
}

/// Long enough that a query's results are summed up in all lanes there are, and the first takes
/// over again.
#[test]
fn a_long_text_is_the_same_token_by_token() {
    const LONG: usize = 4300;
    const CONTEXT: usize = 512;
    let Some(fixtures) = fixtures() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("model.tack");
    for family in ["llama", "deepseek_v2", "gpt_oss"] {
        bake_at(&fixtures.join(family), &blob, Encoding::F32);
        let engines = [1, 2].map(|threads| open(&blob, None, threads));
        let vocabulary = engines[0].network().spec.vocabulary;
        let tokens: Vec<u32> = (0..LONG as u32).map(|at| at * 7919 % 8009 % vocabulary).collect();
        let [kv, _] = small_rings(&engines[0]);
        let logits = |engine: &Engine, batch: usize, pieces: &[usize]| {
            let options = SessionOptions::new().context(CONTEXT).batch(batch).kv(kv);
            logits_in_pieces(&mut engine.session(&options).unwrap(), &tokens, pieces)
        };
        let whole = logits(&engines[0], 256, &[LONG]);
        assert!(whole.iter().all(|logit| logit.is_finite()), "{family}");
        for (engine, batch, piece) in [(&engines[1], 1, 1), (&engines[1], 100, LONG)] {
            assert!(
                same_bits(&logits(engine, batch, &[piece]), &whole),
                "{family}, pieces of {piece}"
            );
        }
    }
}

#[test]
fn going_back_and_restoring_give_what_was_there() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("session");
    each_family(|family, blob| {
        let engine = open(blob, None, 1);
        let tokens = text(&engine);
        let vocabulary = engine.network().spec.vocabulary as usize;
        for kv in small_rings(&engine).into_iter().chain([ring(&[4], 0)]) {
            let mut first = session(&engine, kv, 64);
            let whole = logits_in_pieces(&mut first, &tokens, &[TOKENS]);
            for back in [TOKENS - 1, TOKENS - 3, 330, 257, 100, 40, 0] {
                let kept = first.truncate(back);
                assert!(
                    kept <= back && kept == first.position(),
                    "{family}, {kv:?}: {kept} of {back}"
                );
                // The open chunk is always there to go back into.
                assert!(
                    kept == back || back < TOKENS / 64 * 64,
                    "{family}, {kv:?}: {kept} of {back}"
                );
                let rest = logits_in_pieces(&mut first, &tokens[kept..], &[TOKENS]);
                assert!(
                    same_bits(&rest, &whole[kept * vocabulary..]),
                    "{family}, {kv:?}: back to {back}"
                );
            }
            for held in [0, 1, 63, 64, 65, 128, 300, TOKENS - 1] {
                let mut saved = session(&engine, kv, 64);
                logits_in_pieces(&mut saved, &tokens[..held], &[TOKENS]);
                saved.save(&file, b"note").unwrap();
                let mut restored = session(&engine, kv, 7);
                // What it held before is gone.
                restored.feed(&tokens[5..200]).unwrap();
                let content = restored.restore(&file).unwrap();
                assert_eq!((restored.tokens(), &content.note[..]), (&tokens[..held], &b"note"[..]));
                assert_eq!(restored.position(), held);
                let rest = logits_in_pieces(&mut restored, &tokens[held..], &[TOKENS]);
                assert!(
                    same_bits(&rest, &whole[held * vocabulary..]),
                    "{family}, {kv:?}: restored after {held}"
                );
            }
        }
    });
}

#[test]
fn exact_caches_are_restored_too() {
    let Some(fixtures) = fixtures() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (blob, file) = (scratch.path().join("model.tack"), scratch.path().join("session"));
    for family in ["llama", "deepseek_v2"] {
        bake_at(&fixtures.join(family), &blob, Encoding::F32);
        let engine = open(&blob, None, 1);
        let tokens = text(&engine);
        for kv in [KvPrecision::F16, KvPrecision::F32] {
            let mut saved = session(&engine, kv, 64);
            saved.feed(&tokens[..100]).unwrap();
            saved.save(&file, &[]).unwrap();
            let mut restored = session(&engine, kv, 64);
            restored.restore(&file).unwrap();
            assert_eq!(restored.tokens(), &tokens[..100]);
            let (ours, truth) =
                (restored.feed(&tokens[100..150]).unwrap(), saved.feed(&tokens[100..150]).unwrap());
            assert!(same_bits(ours, truth), "{family}, {kv:?}");
        }
    }
}

#[test]
fn fewer_bits_are_further_from_the_truth_and_eight_are_close() {
    each_family(|family, blob| {
        let engine = open(blob, None, 1);
        let tokens = &text(&engine)[..CONTEXT];
        let logits = |kv| logits_in_pieces(&mut session(&engine, kv, 64), tokens, &[CONTEXT]);
        let exact = logits(KvPrecision::F32);
        let off = [8, 4, 2].map(|bits| distance(&logits(ring(&[bits], 0)), &exact));
        let size = distance(&exact, &vec![0.0; exact.len()]);
        assert!(
            off[0] < 0.12 * size && off[0] < off[1] && off[1] < off[2],
            "{family}: {off:?} of {size}"
        );
    });
}

/// Codes are cut where a float falls on one side of a border, so tiers whose floats differ in the
/// last place do not give the same codes everywhere; the tokens that they choose are the same but
/// where two are about as likely.
#[test]
fn tiers_choose_the_same_tokens() {
    each_family(|family, blob| {
        let scalar = open(blob, Some("scalar"), 1);
        let (tokens, vocabulary) = (text(&scalar), scalar.network().spec.vocabulary as usize);
        for kv in small_rings(&scalar) {
            let truth = logits_in_pieces(&mut session(&scalar, kv, 64), &tokens, &[TOKENS]);
            for tier in hardtack::kernel_tiers() {
                let engine = open(blob, Some(tier.name), 1);
                let ours = logits_in_pieces(&mut session(&engine, kv, 64), &tokens, &[TOKENS]);
                let (ours, truth) = (likeliest(&ours, vocabulary), likeliest(&truth, vocabulary));
                let other = ours.iter().zip(&truth).filter(|(ours, truth)| ours != truth).count();
                assert!(
                    other <= TOKENS / 100,
                    "{family}, {}, {kv:?}: {other} of {TOKENS} differ",
                    tier.name
                );
            }
        }
    });
}

#[test]
fn hostile_sessions_are_refused() {
    let Some(fixtures) = fixtures() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (blob, other, file) = (
        scratch.path().join("a.tack"),
        scratch.path().join("b.tack"),
        scratch.path().join("session"),
    );
    bake_at(&fixtures.join("llama"), &blob, Encoding::F32);
    bake_at(&fixtures.join("llama"), &other, Encoding::Bf16);
    let engine = open(&blob, None, 1);
    let tokens = text(&engine);
    let [kv, another] = small_rings(&engine);
    let mut saved = session(&engine, kv, 64);
    saved.feed(&tokens).unwrap();
    saved.save(&file, b"note").unwrap();
    let good = fs::read(&file).unwrap();
    let refused = |session: &mut Session, words: &[&str]| {
        let line = session.restore(&file).expect_err("refused").to_string();
        assert!(!line.contains('\n') && words.iter().all(|word| line.contains(word)), "{line}");
        assert_eq!(session.position(), 0);
        // It is as good as new.
        session.feed(&tokens[..70]).unwrap();
    };
    refused(&mut session(&open(&other, None, 1), kv, 64), &["session", "model", "another model"]);
    refused(&mut session(&engine, KvPrecision::F16, 64), &["kind of cache", "expected 0, found 2"]);
    refused(&mut session(&engine, another, 64), &["units"]);

    let mut target = session(&engine, kv, 64);
    for length in (0..good.len()).step_by(499).chain([good.len() - 1]) {
        fs::write(&file, &good[..length]).unwrap();
        refused(&mut target, &["length", "the file's end"]);
    }
    fs::write(&file, [&good[..], &[0]].concat()).unwrap();
    refused(&mut target, &["end", "more bytes"]);
    for at in (0..good.len()).step_by(211).chain(0..400) {
        for value in [0, 0xff, good[at] ^ 1] {
            let mut bad = good.clone();
            bad[at] = value;
            if bad != good {
                fs::write(&file, &bad).unwrap();
                refused(&mut target, &[]);
            }
        }
    }
    fs::write(&file, &good).unwrap();
    assert_eq!(target.restore(&file).unwrap().note, b"note");
    assert_eq!(target.tokens(), tokens);
}

#[test]
fn settings_out_of_range_are_refused() {
    let Some(fixtures) = fixtures() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("model.tack");
    bake_at(&fixtures.join("llama"), &blob, Encoding::F32);
    let engine = open(&blob, None, 1);
    for steps in
        [&[][..], &[[5, 4]], &[[4, 4], [4, 4]], &[[2, 2], [4, 4]], &[[4, 3], [3, 4]], &[[16, 16]]]
    {
        assert!(
            Ladder::new(steps).unwrap_err().to_string().starts_with("kv bits: expected"),
            "{steps:?}"
        );
    }
    let options =
        |context, bytes| SessionOptions::new().context(context).batch(64).kv(ring(&[4], bytes));
    assert!(engine.session(&options(191, 0)).is_err() && engine.session(&options(192, 0)).is_ok());
    let least = least_bytes(&engine, &[4]);
    assert!(engine.session(&options(CONTEXT, least - 1)).is_err());
    assert!(engine.session(&options(CONTEXT, least)).unwrap().kv_bytes() <= least);

    let limit = engine.plan(&options(CONTEXT, 0)).unwrap().total_bytes() - 1;
    let tight = Engine::open_with(&blob, &Options::new().memory_max(limit)).unwrap();
    let refusal = tight.session(&options(CONTEXT, 0)).expect_err("refused").to_string();
    let advice = refusal
        .split("a ring of ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap()
        .parse()
        .unwrap();
    assert!(tight.session(&options(CONTEXT, advice)).is_ok(), "{refusal}");
}
