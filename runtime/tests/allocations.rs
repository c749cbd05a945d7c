//! Decoding allocates nothing: every byte of a session is there before the first token.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hardtack::format::Encoding;
use hardtack::{
    Ended, Engine, KvPrecision, Ladder, Options, RingBits, RingOptions, Sampler, SamplerOptions,
    SessionOptions,
};
use hardtack_testing::{FAMILIES, bake_at, fixtures};

/// Counts every call to the system's allocator, of any thread, while `COUNTING` is set.
struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    if COUNTING.load(Ordering::Relaxed) {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `alloc`'s contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `realloc`'s contract, which is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Tokens decoded while the counter runs.
const TOKENS: usize = 200;

/// A ring of eight bits, then two, in which 200 tokens do not fit.
fn small_ring(engine: &Engine) -> KvPrecision {
    let ring = |bytes| {
        KvPrecision::Ring(
            RingOptions::new()
                .bytes(bytes)
                .bits(RingBits::Ladder(Ladder::new(&[[8, 8], [4, 2]]).unwrap())),
        )
    };
    let options = |bytes| SessionOptions::new().context(256).kv(ring(bytes));
    let least = (1..).map(|step| step << 12).find(|&bytes| engine.plan(&options(bytes)).is_ok());
    ring(least.unwrap())
}

/// One test, since the counter sees every thread of the process.
#[test]
fn a_token_costs_no_allocation() {
    let Some(fixtures) = fixtures() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("model.tack");
    for family in FAMILIES {
        for (encoding, temperature) in [(Encoding::Q4, 0.0), (Encoding::Bf16, 0.8)] {
            bake_at(&fixtures.join(family), &blob, encoding);
            for threads in [1, 2] {
                let engine = Engine::open_with(&blob, &Options::new().threads(threads)).unwrap();
                // Exactly, and in a ring that seals, demotes and forgets: every second combination
                // each.
                let kv = if (threads == 1) == (encoding == Encoding::Q4) {
                    small_ring(&engine)
                } else {
                    KvPrecision::F16
                };
                let mut session =
                    engine.session(&SessionOptions::new().context(256).kv(kv)).unwrap();
                let options =
                    SamplerOptions::new().temperature(temperature).repetition_penalty(1.1);
                let mut sampler =
                    Sampler::new(options, engine.network().spec.vocabulary as usize).unwrap();
                let mut tokens = 0;
                let ended = session.generate(&[1, 2, 3, 4, 5], &mut sampler, |_| {
                    tokens += 1;
                    match tokens {
                        1 => COUNTING.store(true, Ordering::SeqCst),
                        TOKENS => {
                            COUNTING.store(false, Ordering::SeqCst);
                            return ControlFlow::Break(());
                        }
                        _ => {}
                    }
                    ControlFlow::Continue(())
                });
                assert_eq!(ended.unwrap(), Ended::Stopped);
                let calls = CALLS.swap(0, Ordering::SeqCst);
                let name = encoding.name();
                assert_eq!(
                    calls, 0,
                    "{family} at {name}, {threads} threads: allocations in {TOKENS} tokens"
                );
            }
        }
    }
    // A loop of one's own.
    let engine = Engine::open_with(&blob, &Options::new().threads(2)).unwrap();
    let mut session = engine.session(&SessionOptions::new().context(256)).unwrap();
    session.feed(&[1, 2, 3]).unwrap();
    COUNTING.store(true, Ordering::SeqCst);
    (0..TOKENS as u32).for_each(|token| assert!(session.feed(&[token]).is_ok()));
    COUNTING.store(false, Ordering::SeqCst);
    assert_eq!(CALLS.swap(0, Ordering::SeqCst), 0, "a loop of feeds allocates");
    // The counter itself works.
    COUNTING.store(true, Ordering::SeqCst);
    drop(std::hint::black_box(vec![1u8; 100]));
    COUNTING.store(false, Ordering::SeqCst);
    assert!(CALLS.load(Ordering::SeqCst) > 0);
}
