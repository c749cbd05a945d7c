//! How fast queries meet keys and weights meet values that are kept in half floats: GB/s of those
//! and billions of products a second, on one thread, beside plainly reading the same bytes. `halves
//! [megabytes] [width]`

use std::hint::black_box;
use std::time::{Duration, Instant};

use half::f16;
use hardtack_kernels::attention::{ROWS_MAX, Scores};
use hardtack_kernels_avx::avx2;

const QUERIES: [usize; 7] = [1, 2, 3, 4, 6, 8, 16];
/// Repetitions go on for so long; the fastest counts, as the others had neighbours.
const TIME: Duration = Duration::from_millis(600);

fn main() {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let (megabytes, width) = (numbers.next().unwrap_or(64), numbers.next().unwrap_or(64));
    let table = avx2().expect("a processor with AVX2");
    let chunk = ROWS_MAX * width;
    let halves: Vec<f16> = (0..(megabytes << 19) / chunk * chunk)
        .map(|at| f16::from_f32((at % 97) as f32 * 0.01))
        .collect();
    println!(
        "{megabytes} MB of half floats, {width} wide, one thread; GB/s (billions of products/s)"
    );
    println!("{:>8}{:>8}{:>20}{:>20}", "queries", "read", "scores", "values");
    for count in QUERIES {
        let query = vec![0.5; width];
        let queries = vec![&query[..]; count];
        let mut scores: Vec<Scores> = vec![[0.0; ROWS_MAX]; count];
        let mut out = vec![0.0; count * width];
        let read = gigabytes(&halves, chunk, &mut |rows| {
            black_box(rows.iter().fold(0, |bits, half| bits ^ half.to_bits()));
        });
        let scored = gigabytes(&halves, chunk, &mut |keys| {
            (table.score_f16)(&queries, keys, &mut scores);
            black_box(&scores);
        });
        let gathered = gigabytes(&halves, chunk, &mut |values| {
            (table.gather_f16)(&scores, values, width, &mut out);
            black_box(&out);
        });
        let products = |speed: f64| format!("({:.1})", speed / 2.0 * count as f64);
        println!(
            "{count:>8}{read:>8.1}{scored:>12.2} {:>7}{gathered:>12.2} {:>7}",
            products(scored),
            products(gathered)
        );
    }
}

/// The fastest of several runs over all chunks.
fn gigabytes(halves: &[f16], chunk: usize, run: &mut dyn FnMut(&[f16])) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    while start.elapsed() < TIME {
        let begin = Instant::now();
        halves.chunks_exact(chunk).for_each(&mut *run);
        best = best.min(begin.elapsed().as_secs_f64());
    }
    size_of_val(halves) as f64 / best / 1e9
}
