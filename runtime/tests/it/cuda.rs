//! Every family through the CUDA kernels: the whole decode step and prompts, against the logits
//! that `transformers` returns. The emulation runs them, and with the feature `cuda` a GPU too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hardtack::format::Encoding;
use hardtack::{Engine, KvPrecision, Options, SessionOptions};
use hardtack_kernels_cuda::emulator::Watched;
use hardtack_kernels_cuda::{
    CudaError, Device, Emulator, HostBytes, KvElement, Model, Session, SessionSizes,
};
use hardtack_testing::devices::emulator;
#[cfg(feature = "cuda")]
use hardtack_testing::devices::gpu;
use hardtack_testing::reference::{largest_difference, references};
use hardtack_testing::{FAMILIES, bake_at, fixtures};

/// Largest difference from the reference that a logit may have.
const TOLERANCE: f32 = 1e-3;
/// Tokens that can be kept.
const CONTEXT: usize = 128;

fn open(blob: &Path) -> Engine {
    Engine::open_with(blob, &Options::new().threads(1)).unwrap()
}

fn session<D: Device>(engine: &Engine, device: D, kv: KvElement) -> Session<D> {
    let file: HostBytes = Arc::new(std::fs::read(engine.path()).unwrap());
    let model = Model::new(device, &file).unwrap();
    Session::new(Arc::new(model), CONTEXT, 32, kv).unwrap()
}

/// Runs a prompt from the beginning in pieces of one size and returns all logits.
fn logits_in_pieces<D: Device>(session: &mut Session<D>, prompt: &[u32], size: usize) -> Vec<f32> {
    let vocabulary = session.model().network().spec.vocabulary as usize;
    let (mut all, mut row, mut position) = (Vec::new(), vec![0.0; vocabulary], 0);
    for piece in prompt.chunks(size) {
        session.pass(position, piece).unwrap();
        for index in 0..piece.len() {
            if piece.len() > 1 {
                session.make_logits(index).unwrap();
            }
            session.read_logits(&mut row).unwrap();
            all.extend_from_slice(&row);
        }
        position += piece.len();
    }
    all
}

/// The likeliest tokens after a prompt, chosen on the device and fed from there.
fn greedy<D: Device>(session: &mut Session<D>, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut position = 0;
    for piece in prompt.chunks(session.sizes().batch) {
        session.pass(position, piece).unwrap();
        position += piece.len();
        if piece.len() > 1 {
            session.make_logits(piece.len() - 1).unwrap();
        }
    }
    let mut tokens = vec![session.likeliest().unwrap()];
    while tokens.len() < count {
        tokens.push(session.follow(position).unwrap());
        position += 1;
    }
    tokens
}

fn check_family(family: &str) {
    let Some(fixtures) = fixtures() else { return };
    let folder = fixtures.join(family);
    if let Some(device) = emulator(true) {
        check(&folder, family, device);
    }
    #[cfg(feature = "cuda")]
    if let Some(device) = gpu() {
        check(&folder, family, device);
    }
}

/// Holds a device to a checkpoint's reference, whatever the pieces that a prompt comes in.
fn check<D: Device>(folder: &Path, family: &str, device: D) {
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("model.tack");
    bake_at(folder, &blob, Encoding::F32);
    let engine = open(&blob);
    let mut session = session(&engine, device, KvElement::F32);
    for (index, reference) in references(folder).iter().enumerate() {
        let whole = logits_in_pieces(&mut session, &reference.prompt, 32);
        let error = largest_difference(&whole, &reference.logits);
        assert!(error <= TOLERANCE, "{family}, prompt {index}: logits differ by {error}");
        if index == 0 {
            for size in [1, 7] {
                let error = largest_difference(
                    &logits_in_pieces(&mut session, &reference.prompt, size),
                    &whole,
                );
                assert!(error == 0.0, "{family}, pieces of {size}: {error}");
            }
        }
        let tokens = greedy(&mut session, &reference.prompt, reference.greedy.len());
        assert_eq!(tokens, reference.greedy, "{family}, prompt {index}");
    }
}

/// A blob of codes, and keys and values in f16, beside the CPU: what differs is only how
/// floats are summed.
#[test]
fn codes_are_the_cpus() {
    let Some(fixtures) = fixtures() else { return };
    for (family, encoding, tensor_cores) in [
        ("qwen3_moe", Encoding::Q4, true),
        ("deepseek_v2", Encoding::Q5, false),
        ("gpt_oss", Encoding::Q3, true),
    ] {
        let Some(device) = emulator(tensor_cores) else { return };
        let scratch = tempfile::tempdir().unwrap();
        let blob = scratch.path().join("model.tack");
        bake_at(&fixtures.join(family), &blob, encoding);
        let engine = open(&blob);
        let mut session = session(&engine, device, KvElement::F16);
        let options = SessionOptions::new().context(CONTEXT).batch(32).kv(KvPrecision::F16);
        let mut cpu = engine.session(&options).unwrap();
        let prompt = &references(&fixtures.join(family))[0].prompt;
        let mut expected = Vec::new();
        cpu.feed_each(prompt, |_, logits| expected.extend_from_slice(logits)).unwrap();
        let found = logits_in_pieces(&mut session, prompt, 32);
        let error = largest_difference(&found, &expected);
        let size = expected.iter().fold(0.0f32, |size, logit| size.max(logit.abs()));
        // A sum that is off by its last bit can round an activation's code the other way, here and
        // there.
        assert!(error <= size * 0.02, "{family}: logits up to {size} differ by {error}");
        let again = largest_difference(&logits_in_pieces(&mut session, prompt, 1), &found);
        assert!(again == 0.0, "{family}: token by token {again}");
    }
}

#[test]
fn what_would_be_read_past_the_end_is_refused() {
    let (Some(fixtures), Some(device)) = (fixtures(), emulator(true)) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("model.tack");
    bake_at(&fixtures.join("llama"), &blob, Encoding::Q4);
    let mut session = session(&open(&blob), device, KvElement::F16);
    let caught = catch_unwind(AssertUnwindSafe(|| session.follow(0)));
    assert!(caught.is_err(), "the likeliest of nothing is accepted");
    let mut refused =
        |what: &str, call: &dyn Fn(&mut Session<Emulator>) -> Result<(), CudaError>| {
            let found = call(&mut session);
            assert!(matches!(found, Err(CudaError::Range { .. })), "{what}: {found:?}");
        };
    refused("no token", &|session| session.pass(0, &[]));
    refused("a token the model does not have", &|session| session.pass(0, &[320]));
    refused("more than a batch", &|session| session.pass(0, &[1; 33]));
    refused("more than fits", &|session| session.pass(CONTEXT - 1, &[1, 2]));
    // The kernels count in 32 bits, and sums of such positions wrap.
    for position in [CONTEXT, 1 << 32, 1 << 62, usize::MAX] {
        refused("a position past the end", &|session| session.pass(position, &[0]));
    }
    refused("a row past the batch", &|session| session.make_logits(32));
    refused("a row past the batch", &|session| session.make_logits(usize::MAX));
    let model = session.model();
    for (context, batch) in
        [(64, (1 << 62) + 1), (1 << 62, 1), (64, 0), (0, 1), (usize::MAX, usize::MAX)]
    {
        let refused = SessionSizes::of(&model.network().spec, context, batch, KvElement::F16);
        assert!(
            matches!(refused, Err(CudaError::Range { .. })),
            "context {context}, batch {batch}"
        );
    }
    session.pass(CONTEXT - 1, &[319]).unwrap();
    assert!(session.likeliest().unwrap() < 320);
}

#[test]
fn a_session_takes_what_its_sizes_say() {
    let Some(fixtures) = fixtures() else { return };
    for family in FAMILIES {
        let Some(device) = emulator(true) else { return };
        let scratch = tempfile::tempdir().unwrap();
        let blob = scratch.path().join("model.tack");
        bake_at(&fixtures.join(family), &blob, Encoding::Q4);
        let file: HostBytes = Arc::new(std::fs::read(&blob).unwrap());
        let model = Arc::new(Model::new(Watched::new(device), &file).unwrap());
        for kv in [KvElement::F16, KvElement::F32] {
            model.device().taken.store(0, Ordering::Relaxed);
            let session = Session::new(model.clone(), 300, 9, kv).unwrap();
            let planned = session.sizes().kv_bytes() + session.sizes().scratch_bytes();
            assert_eq!(model.device().taken.load(Ordering::Relaxed), planned, "{family}");
        }
    }
}

hardtack_testing::each_family!(check_family);
