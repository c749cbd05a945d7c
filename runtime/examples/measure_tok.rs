use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
struct C;
static N: AtomicUsize = AtomicUsize::new(0);
static P: AtomicUsize = AtomicUsize::new(0);
fn add(n: usize) {
    let now = N.fetch_add(n, Relaxed) + n;
    P.fetch_max(now, Relaxed);
}
fn up(n: usize) -> usize {
    (n + 8).max(24).next_multiple_of(16)
}
unsafe impl GlobalAlloc for C {
    unsafe fn alloc(&self, l: Layout) -> *mut u8 {
        add(up(l.size()));
        unsafe { System.alloc(l) }
    }
    unsafe fn dealloc(&self, p: *mut u8, l: Layout) {
        N.fetch_sub(up(l.size()), Relaxed);
        unsafe { System.dealloc(p, l) }
    }
    unsafe fn realloc(&self, p: *mut u8, l: Layout, n: usize) -> *mut u8 {
        add(up(n));
        N.fetch_sub(up(l.size()), Relaxed);
        unsafe { System.realloc(p, l, n) }
    }
}
#[global_allocator]
static A: C = C;
fn vm() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .find(|l| l.starts_with("VmHWM"))
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}
fn main() {
    for path in std::env::args().skip(1) {
        let json = std::fs::read(&path).unwrap();
        let t = std::time::Instant::now();
        let survey = hardtack_tokenizer::survey(&json);
        let st = t.elapsed();
        let base = N.load(Relaxed);
        P.store(base, Relaxed);
        let before = vm();
        let t = std::time::Instant::now();
        let loaded = tokenizers::Tokenizer::from_bytes(&json);
        let lt = t.elapsed();
        let peak = P.load(Relaxed) - base;
        let kept = N.load(Relaxed) - base;
        let name = path.replace("/package/models/tokenizer.json", "");
        match (&survey, &loaded) {
            (Ok(s), Ok(k)) => {
                let b = json.len() as f64;
                let base2 = N.load(Relaxed);
                P.store(base2, Relaxed);
                let text = "The quick brown fox, 123 jumps over: it's über! \u{4e2d}\u{6587}\n".repeat(16000 / 55);
                let n = k.encode_fast(text.as_str(), false).unwrap().len();
                let enc = P.load(Relaxed) - base2;
                println!(
                    "{name}: {:?} {:.1}MB tokens {} merges {} added {} growth {:.0} classes {} | peak {:.1}/B kept {:.1}/B rss {} MB | estimate {:.1}/B | survey {:?} load {:?} | encode {} B {} tok peak {:.0}/B",
                    s.model,
                    b / 1e6,
                    s.tokens,
                    s.merges,
                    s.added,
                    s.growth,
                    s.classes,
                    peak as f64 / b,
                    kept as f64 / b,
                    (vm() - before) / 1024,
                    s.memory_bytes() as f64 / b,
                    st,
                    lt,
                    text.len(),
                    n,
                    enc as f64 / text.len() as f64
                );
            }
            (a, b) => println!(
                "{name}: survey {:?} load {:?} peak {:.1}/B",
                a.as_ref().err(),
                b.as_ref().err().map(|e| e.to_string().chars().take(100).collect::<String>()),
                peak as f64 / json.len() as f64
            ),
        }
    }
}
