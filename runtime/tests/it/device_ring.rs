//! A quantized ring on a device: what it returns beside the CPU, whatever the pieces, what was
//! forgotten and what was restored.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hardtack::format::Encoding;
use hardtack::{
    Engine, KvPrecision, Ladder, Options, RingBits, RingOptions, Session, SessionOptions,
};
use hardtack_kernels_cuda::emulator::Watched;
use hardtack_testing::devices::{all_devices, emulator};
use hardtack_testing::{bake_at, fixtures, logits_in_pieces};

/// Tokens of a text: more than `CONTEXT`, so that the first chunk is moved, and several chunks of
/// codes.
const TOKENS: usize = 290;
/// Tokens of sessions that are saved.
const HELD: usize = 262;
/// How far logits may be from the CPU's, as a share of their size.
const TOLERANCE: f32 = 0.01;
/// Over how many tokens rings reach.
const CONTEXT: usize = 256;

fn options() -> Options {
    Options::new().threads(1)
}

fn ring(steps: &[u32], bytes: u64) -> KvPrecision {
    let levels: Vec<_> = steps.iter().map(|&bits| [bits; 2]).collect();
    let mut options = RingOptions::new().bits(RingBits::Ladder(Ladder::new(&levels).unwrap()));
    // 0 for a ring that never loses bits.
    options.bytes = Some(bytes).filter(|&bytes| bytes > 0);
    KvPrecision::Ring(options)
}

fn session(engine: &Engine, kv: KvPrecision) -> Session {
    engine.session(&SessionOptions::new().context(CONTEXT).batch(64).kv(kv)).unwrap()
}

/// A ring in which chunks lose bits and are forgotten.
fn small_ring(engine: &Engine) -> KvPrecision {
    let steps = [8, 4, 2];
    let options = SessionOptions::new().context(CONTEXT).batch(1).kv(ring(&steps, 1));
    let refusal = engine.plan(&options).expect_err("a ring of one byte").to_string();
    let number =
        refusal.strip_prefix("kv: expected at least ").and_then(|rest| rest.split(' ').next());
    let least: u64 =
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{refusal}"));
    ring(&steps, least * 5 / 4)
}

fn text(engine: &Engine) -> Vec<u32> {
    let vocabulary = engine.network().spec.vocabulary;
    (0..TOKENS as u32).map(|at| (at * 7919 + at * at % 13) % vocabulary).collect()
}

/// The root mean square of the differences, as a share of the second's own.
fn distance(ours: &[f32], truth: &[f32]) -> f32 {
    assert_eq!(ours.len(), truth.len());
    let squares =
        |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>();
    let off = squares(&mut ours.iter().zip(truth).map(|(ours, truth)| ours - truth));
    (off / squares(&mut truth.iter().copied())).sqrt()
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

fn check(family: &str) {
    let Some(fixtures) = fixtures() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (blob, file, again) = (
        scratch.path().join("model.tack"),
        scratch.path().join("session"),
        scratch.path().join("again"),
    );
    bake_at(&fixtures.join(family), &blob, Encoding::F32);
    let cpu = Engine::open_with(&blob, &options()).unwrap();
    let (tokens, kv) = (text(&cpu), small_ring(&cpu));
    let vocabulary = cpu.network().spec.vocabulary as usize;
    let mut truth = session(&cpu, kv);
    let expected = logits_in_pieces(&mut truth, &tokens, &[TOKENS]);
    assert!(
        family != "llama" || truth.kv_levels().any(|(_, _, bits)| bits[0] < 8),
        "{family}: nothing was demoted"
    );
    for device in all_devices() {
        let engine = Engine::open_on(&blob, &options(), device).unwrap();
        let mut own = session(&engine, kv);
        let whole = logits_in_pieces(&mut own, &tokens, &[TOKENS]);
        // A sum that is off by its last bit can put a number on the other side of a code's border,
        // here and there.
        let off = distance(&whole, &expected);
        assert!(off < TOLERANCE, "{family}: logits are off by {off} of their size");
        assert!(own.kv_levels().eq(truth.kv_levels()), "{family}: other chunks or bits");

        // What was saved on one side goes on on the other, and is the same file from there.
        for (held, to) in [(64, &engine), (HELD, &engine), (HELD, &cpu)] {
            let saved = if to.device().is_some() { &mut truth } else { &mut own };
            check_moves(saved, (&tokens, held), to, TOLERANCE, [&file, &again]);
        }
        check_moves(&mut own, (&tokens, HELD), &engine, 0.0, [&file, &again]);

        let some = &tokens[..200];
        let parts = logits_in_pieces(&mut session(&engine, kv), some, &[60, 10, 1, 3, 50, 33]);
        assert!(same_bits(&parts, &whole[..some.len() * vocabulary]), "{family}: in pieces");
        for back in [265, 257, 40] {
            let kept = own.truncate(back);
            assert!(kept <= back && kept == own.position(), "{family}: {kept} of {back}");
            assert!(kept == back || back < TOKENS / 64 * 64, "{family}: {kept} of {back}");
            let end = TOKENS.min(kept + 40);
            let rest = logits_in_pieces(&mut own, &tokens[kept..end], &[TOKENS]);
            assert!(
                same_bits(&rest, &whole[kept * vocabulary..end * vocabulary]),
                "{family}: back to {back}"
            );
        }
    }
}

/// Saves what a session was after some of its tokens, restores it on an engine and goes on there.
fn check_moves(
    saved: &mut Session,
    (tokens, held): (&[u32], usize),
    to: &Engine,
    most: f32,
    [file, again]: [&Path; 2],
) {
    if saved.truncate(held) < held {
        saved.feed(&tokens[saved.position()..held]).unwrap();
    }
    saved.save(file, b"note").unwrap();
    let kv = saved.kv();
    let mut restored = session(to, small_ring(to));
    assert_eq!(restored.kv(), kv);
    // What it held before is gone.
    restored.feed(&tokens[5..75]).unwrap();
    restored.restore(file).unwrap();
    assert_eq!(restored.tokens(), &tokens[..held]);
    restored.save(again, b"note").unwrap();
    assert!(fs::read(file).unwrap() == fs::read(again).unwrap(), "another file after {held}");
    let rest = logits_in_pieces(&mut restored, &tokens[held..held + 12], &[TOKENS]);
    let uninterrupted = logits_in_pieces(saved, &tokens[held..held + 12], &[TOKENS]);
    let off = distance(&rest, &uninterrupted);
    assert!(off <= most, "restored after {held}: {off}");
}

#[test]
fn grouped_attention() {
    check("llama");
}

#[test]
fn latent_attention() {
    check("deepseek_v2");
}

#[test]
fn windows_and_sinks() {
    check("gpt_oss");
}

#[test]
fn a_ring_takes_what_is_planned_and_outlives_a_failure() {
    let (Some(fixtures), Some(emulator)) = (fixtures(), emulator(true)) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("model.tack");
    bake_at(&fixtures.join("qwen3_moe"), &blob, Encoding::Q4);
    let device = Arc::new(Watched::new(emulator));
    let engine = Engine::open_on(&blob, &options(), device.clone()).unwrap();
    let kv = small_ring(&engine);
    for kv in [kv, ring(&[4], 0)] {
        let plan = engine.plan(&SessionOptions::new().context(CONTEXT).batch(64).kv(kv)).unwrap();
        device.taken.store(0, Ordering::Relaxed);
        let own = session(&engine, kv);
        assert_eq!(
            device.taken.load(Ordering::Relaxed),
            plan.device_kv_bytes + plan.device_scratch_bytes
        );
        assert!(plan.device_kv_bytes < plan.kv_bytes && own.kv_bytes() == plan.kv_bytes);
        assert_eq!(plan.host_bytes() + plan.device_bytes(), plan.total_bytes());
        let KvPrecision::Ring(ring) = kv else { unreachable!("a ring") };
        assert!(ring.bytes.is_none_or(|bytes| plan.kv_bytes <= bytes), "{plan}");
    }
    let (tokens, mut own) = (text(&engine), session(&engine, kv));
    let expected = own.feed(&tokens[..130]).unwrap().to_vec();
    own.truncate(0);
    own.feed(&tokens[..128]).unwrap();
    device.broken.store(true, Ordering::Relaxed);
    // The third chunk would begin here.
    let line = own.feed(&tokens[128..130]).expect_err("told to fail").to_string();
    assert!(
        line.contains("told to fail") && own.position() == 0,
        "{line}, position {}",
        own.position()
    );
    device.broken.store(false, Ordering::Relaxed);
    assert!(own.feed(&[]).is_err());
    assert!(same_bits(own.feed(&tokens[..130]).unwrap(), &expected));
}
