//! The whole runtime on a device: what it returns beside the CPU, what it takes, what it refuses.
//! The emulation runs it, and a GPU where there is one.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hardtack::format::Encoding;
use hardtack::{
    Engine, KvPrecision, Options, Plan, Sampler, SamplerOptions, Session, SessionOptions,
};
use hardtack_kernels_cuda::emulator::Watched;
use hardtack_testing::devices::{all_devices, emulator};
use hardtack_testing::reference::{Reference, largest_difference, references};
use hardtack_testing::{bake_at, fixtures};

/// Largest difference from the reference, or from the CPU, that a logit may have.
const TOLERANCE: f32 = 1e-3;
const CONTEXT: usize = 128;

/// One thread on the CPU, and nothing else out of the ordinary.
fn options() -> Options {
    Options::new().threads(1)
}

fn session_options(kv: KvPrecision) -> SessionOptions {
    SessionOptions::new().context(CONTEXT).batch(16).kv(kv)
}

/// A family's checkpoint as a blob, in a folder that is gone with the second.
fn baked(family: &str, encoding: Encoding) -> Option<(PathBuf, tempfile::TempDir, Vec<Reference>)> {
    let folder = fixtures()?.join(family);
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("model.tack");
    bake_at(&folder, &blob, encoding);
    Some((blob, scratch, references(&folder)))
}

fn watched(change: impl FnOnce(&mut Watched)) -> Option<Arc<Watched>> {
    let mut device = Watched::new(emulator(true)?);
    change(&mut device);
    Some(Arc::new(device))
}

fn logits(session: &mut Session, tokens: &[u32]) -> Vec<f32> {
    let mut all = Vec::new();
    session.feed_each(tokens, |_, logits| all.extend_from_slice(logits)).unwrap();
    all
}

fn sampler(engine: &Engine, options: SamplerOptions) -> Sampler {
    Sampler::new(options, engine.network().spec.vocabulary as usize).unwrap()
}

fn generated(
    session: &mut Session,
    prompt: &[u32],
    options: SamplerOptions,
    count: usize,
) -> Vec<u32> {
    let (mut tokens, mut sampler) = (Vec::new(), sampler(session.engine(), options));
    let accept = |token| {
        tokens.push(token);
        if tokens.len() == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    session.generate(prompt, &mut sampler, accept).unwrap();
    tokens
}

/// The reference's logits and tokens; and going back, wherever a session is, returns what was there
/// to the bit.
#[test]
fn a_device_gives_the_references_logits_and_tokens() {
    for family in ["llama", "qwen3_moe", "deepseek_v2", "gpt_oss"] {
        let Some((blob, _scratch, references)) = baked(family, Encoding::F32) else { return };
        for device in all_devices() {
            let engine = Engine::open_on(&blob, &options(), device).unwrap();
            assert!(engine.device().is_some() && engine.threads() == 1);
            let mut session = engine.session(&session_options(KvPrecision::F32)).unwrap();
            for Reference { prompt, logits: expected, greedy } in &references[..2] {
                assert_eq!(session.truncate(0), 0);
                let whole = logits(&mut session, prompt);
                let error = largest_difference(&whole, expected);
                assert!(error <= TOLERANCE, "{family}: logits differ by {error}");

                let vocabulary = engine.network().spec.vocabulary as usize;
                let kept = session.truncate(prompt.len() / 2);
                assert_eq!((kept, session.position()), (prompt.len() / 2, kept));
                assert!(session.feed(&[]).is_err(), "logits that were forgotten");
                let rest = logits(&mut session, &prompt[kept..]);
                assert_eq!(rest, whole[kept * vocabulary..], "{family}");
                assert_eq!(
                    session.feed(&[]).unwrap(),
                    &whole[whole.len() - vocabulary..],
                    "{family}"
                );

                session.truncate(0);
                let tokens =
                    generated(&mut session, prompt, SamplerOptions::default(), greedy.len());
                assert_eq!(&tokens, greedy, "{family}");
                // The last token was not kept; its forerunners were fed without their logits.
                assert_eq!(session.position(), prompt.len() + greedy.len() - 1);
                let after = session.feed(&[]).unwrap().to_vec();
                let text = [prompt, &greedy[..greedy.len() - 1]].concat();
                session.truncate(0);
                assert_eq!(session.feed(&text).unwrap(), after, "{family}");
            }
        }
    }
}

/// f16 and codes beside the CPU, and samplers that need logits.
#[test]
fn a_device_draws_as_the_cpu_does() {
    let Some((blob, _scratch, references)) = baked("qwen3_moe", Encoding::F32) else { return };
    let prompt = &references[0].prompt;
    let drawn = SamplerOptions::new().temperature(0.7).seed(5);
    let penalized = SamplerOptions::new().repetition_penalty(1.5);
    let cpu = Engine::open_with(&blob, &options()).unwrap();
    for device in all_devices() {
        let engine = Engine::open_on(&blob, &options(), device).unwrap();
        for kv in [KvPrecision::F16, KvPrecision::F32] {
            let session = |engine: &Engine| engine.session(&session_options(kv)).unwrap();
            let (ours, truth) =
                (logits(&mut session(&engine), prompt), logits(&mut session(&cpu), prompt));
            let error = largest_difference(&ours, &truth);
            assert!(error <= 10.0 * TOLERANCE, "{kv:?}: {error}");
        }
        for sampling in [drawn, penalized] {
            let tokens = |engine: &Engine| {
                let mut session = engine.session(&session_options(KvPrecision::F32)).unwrap();
                generated(&mut session, prompt, sampling, 12)
            };
            assert_eq!(tokens(&engine), tokens(&cpu), "{sampling:?}");
        }
    }
}

#[test]
fn the_likeliest_token_is_chosen_without_logits() {
    let Some((blob, _scratch, references)) = baked("llama", Encoding::Q4) else { return };
    let Some(device) = watched(|_| ()) else { return };
    let engine = Engine::open_on(&blob, &options(), device.clone()).unwrap();
    let mut session = engine.session(&session_options(KvPrecision::F16)).unwrap();
    device.unread.store(u64::from(engine.network().spec.vocabulary) * 4, Ordering::Relaxed);
    let tokens = generated(&mut session, &references[0].prompt, SamplerOptions::default(), 8);
    device.unread.store(0, Ordering::Relaxed);
    let mut step_by_step = engine.session(&session_options(KvPrecision::F16)).unwrap();
    let mut chooser = sampler(&engine, SamplerOptions::default());
    let mut next =
        |tokens: &[u32]| chooser.sample(&[], step_by_step.feed(tokens).unwrap()).unwrap();
    let mut expected = vec![next(&references[0].prompt)];
    while expected.len() < tokens.len() {
        let last = expected[expected.len() - 1];
        expected.push(next(&[last]));
    }
    assert_eq!(tokens, expected);
}

/// A session goes on wherever it is restored, and its file is the same from either side.
#[test]
fn sessions_move_between_cpu_and_device() {
    for family in ["llama", "deepseek_v2"] {
        let Some((blob, scratch, references)) = baked(family, Encoding::F32) else { return };
        let (file, again) = (scratch.path().join("session"), scratch.path().join("again"));
        let prompt = &references[0].prompt;
        let (held, rest) = prompt.split_at(prompt.len() * 2 / 3);
        let cpu = Engine::open_with(&blob, &options()).unwrap();
        for device in all_devices() {
            let device = Engine::open_on(&blob, &options(), device).unwrap();
            for kv in [KvPrecision::F16, KvPrecision::F32] {
                for (from, to) in [(&cpu, &device), (&device, &cpu), (&device, &device)] {
                    let session = |engine: &Engine| engine.session(&session_options(kv)).unwrap();
                    let mut saved = session(from);
                    saved.feed(held).unwrap();
                    saved.save(&file, b"note").unwrap();
                    let mut restored = session(to);
                    // What it held before is gone.
                    restored.feed(&[1, 2, 3]).unwrap();
                    let content = restored.restore(&file).unwrap();
                    assert_eq!((restored.tokens(), &content.note[..]), (held, &b"note"[..]));
                    restored.save(&again, b"note").unwrap();
                    assert!(
                        fs::read(&file).unwrap() == fs::read(&again).unwrap(),
                        "{family}, {kv:?}: another file"
                    );
                    let uninterrupted = logits(&mut saved, rest);
                    let error = largest_difference(&logits(&mut restored, rest), &uninterrupted);
                    let most = if from.device() == to.device() { 0.0 } else { TOLERANCE };
                    assert!(error <= most, "{family}, {kv:?}: {error}");
                }
            }
            let mut other = device.session(&session_options(KvPrecision::F16)).unwrap();
            let refusal = other.restore(&file).unwrap_err().to_string();
            assert!(refusal.contains("kind of cache") && other.position() == 0, "{refusal}");
            other.feed(held).unwrap();
        }
    }
}

#[test]
fn a_device_takes_what_is_planned() {
    for family in ["llama", "qwen2_moe", "deepseek_v2"] {
        let Some((blob, _scratch, _)) = baked(family, Encoding::Q4) else { return };
        let Some(device) = watched(|_| ()) else { return };
        let taken = || device.taken.swap(0, Ordering::Relaxed);
        let engine = Engine::open_on(&blob, &options(), device.clone()).unwrap();
        let weights = taken();
        for kv in [KvPrecision::F16, KvPrecision::F32] {
            let session = session_options(kv);
            let plan: Plan = engine.plan(&session).unwrap();
            assert_eq!(plan.fixed.device.map(|device| device.bytes), Some(weights), "{family}");
            let _session = engine.session(&session).unwrap();
            assert_eq!(taken(), plan.kv_bytes + plan.device_scratch_bytes, "{family}, {kv:?}");
            assert_eq!(plan.device_bytes(), weights + plan.kv_bytes + plan.device_scratch_bytes);
            assert_eq!(plan.total_bytes(), plan.host_bytes() + plan.device_bytes());
            assert!(plan.host_bytes() >= fs::metadata(&blob).unwrap().len());
        }
        // Memory that is the host's is counted once, with what had to be copied all the same.
        let device = watched(|device| device.of_host = true).unwrap();
        let engine = Engine::open_on(&blob, &options(), device.clone()).unwrap();
        let plan = engine.plan(&session_options(KvPrecision::F16)).unwrap();
        assert_eq!(
            plan.fixed.device.map(|device| (device.bytes, device.of_host)),
            Some((weights, true))
        );
        assert_eq!(plan.host_bytes(), plan.total_bytes());
    }
}

#[test]
fn limits_and_failures_are_errors_of_one_line() {
    let Some((blob, _scratch, references)) = baked("qwen3_moe", Encoding::Q4) else { return };
    let Some(device) = watched(|_| ()) else { return };
    let refused = |result: Result<Engine, hardtack::Error>, words: &[&str]| {
        let line = result.expect_err("refused").to_string();
        assert!(!line.contains('\n') && words.iter().all(|word| line.contains(word)), "{line}");
    };
    let engine = Engine::open_on(&blob, &options(), device.clone()).unwrap();
    let wanted = session_options(KvPrecision::F16);
    let plan = engine.plan(&wanted).unwrap();

    // `--memory`: a session more than what is allowed, and a model.
    let limited = |bytes| options().memory_max(bytes);
    let tight = Engine::open_on(&blob, &limited(plan.total_bytes() - 1), device.clone()).unwrap();
    let line = tight.session(&wanted).expect_err("refused").to_string();
    let device_part =
        format!("on the device weights {}, KV {}", plan.fixed.device.unwrap().bytes, plan.kv_bytes);
    assert!(
        line.contains(&device_part) && line.contains("a context of 127 tokens would fit"),
        "{line}"
    );
    assert!(
        Engine::open_on(&blob, &limited(plan.total_bytes()), device.clone())
            .unwrap()
            .session(&wanted)
            .is_ok()
    );
    let weights = plan.fixed.total_bytes();
    refused(
        Engine::open_on(&blob, &limited(weights), device.clone()),
        &["bytes are needed", "no context fits"],
    );

    // The device's own memory: refused before anything is copied, or when the session is made.
    let small = watched(|device| device.room = plan.fixed.device.unwrap().bytes).unwrap();
    refused(Engine::open_on(&blob, &options(), small.clone()), &["no room for", "bytes are free"]);
    assert_eq!(small.taken.load(Ordering::Relaxed), 0);
    let small = watched(|device| device.room = plan.device_bytes() - 1).unwrap();
    let engine = Engine::open_on(&blob, &options(), small).unwrap();
    let line = engine.session(&wanted).expect_err("refused").to_string();
    assert!(line.contains("no room for") && line.contains("bytes are free"), "{line}");

    // A failure on the way is an error; so is everything after it.
    let engine = Engine::open_on(&blob, &options(), device.clone()).unwrap();
    let mut session = engine.session(&wanted).unwrap();
    let prompt = &references[0].prompt;
    session.feed(prompt).unwrap();
    assert!(matches!(session.feed(&[u32::MAX]), Err(hardtack::Error::Token { .. })));
    assert!(matches!(session.feed(&[1; CONTEXT]), Err(hardtack::Error::ContextFull { .. })));
    device.broken.store(true, Ordering::Relaxed);
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut greedy = sampler(&engine, SamplerOptions::default());
    let failures = [
        session.feed(&[1]).err(),
        session.feed(&prompt[..3]).err(),
        session.feed_each(&[1, 2], |_, _| ()).err(),
        session.generate(&[1], &mut greedy, |_| ControlFlow::Continue(())).err(),
        session.save(file.path(), &[]).err(),
    ];
    for (index, failure) in failures.into_iter().enumerate() {
        let line = failure.unwrap_or_else(|| panic!("{index}")).to_string();
        assert!(line.contains("told to fail"), "{line}");
    }
    device.broken.store(false, Ordering::Relaxed);
    session.truncate(0);
    session.feed(prompt).unwrap();
}

#[test]
fn a_copy_is_measured() {
    let Some((blob, _scratch, _)) = baked("llama", Encoding::Q4) else { return };
    for device in all_devices() {
        let engine = Engine::open_on(&blob, &options(), device).unwrap();
        assert!(engine.copy_bandwidth(1 << 20).unwrap().is_some_and(|speed| speed > 0.0));
    }
    assert_eq!(
        Engine::open_with(&blob, &options()).unwrap().copy_bandwidth(1 << 20).unwrap(),
        None
    );
}
