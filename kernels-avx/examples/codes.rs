//! How fast inputs meet nested codes in the first caches: billions of products a second on one
//! thread, by tier, bits and how many inputs there are at once. `codes`

use std::hint::black_box;
use std::time::{Duration, Instant};

use hardtack_kernels::nested::{CODE_BITS, CodeGroup, Folded, GROUP_ROWS};
use hardtack_kernels_avx::{avx2, avx512vnni, avxvnni};

const INPUTS: [usize; 7] = [1, 2, 3, 6, 8, 12, 16];
const COLUMNS: usize = 64;
/// Calls between two looks at the clock.
const CALLS: u32 = 2_000;
/// Repetitions go on for so long; the fastest counts, as the others had neighbours.
const TIME: Duration = Duration::from_millis(200);

fn main() {
    let unit: Vec<u8> =
        (0..CodeGroup::unit_bytes(GROUP_ROWS, COLUMNS)).map(|at| (at * 37 % 251) as u8).collect();
    println!("{:>14}{:>6}{}", "tier", "bits", INPUTS.map(|count| format!("{count:>8}")).concat());
    for table in [avx2(), avxvnni(), avx512vnni()].into_iter().flatten() {
        for bits in CODE_BITS {
            let group = CodeGroup { bits, rows: GROUP_ROWS, columns: COLUMNS, units: [&unit; 8] };
            let speeds = INPUTS.map(|count| {
                let inputs = vec![Folded { codes: [3; GROUP_ROWS], scale: 0.5 }; count];
                let mut out = vec![0.0; count * COLUMNS];
                let seconds =
                    fastest(&mut || (table.code_rows)(&group, &inputs, black_box(&mut out)));
                format!("{:>8.1}", (count * GROUP_ROWS * COLUMNS) as f64 / seconds / 1e9)
            });
            println!("{:>14}{bits:>6}{}", table.name, speeds.concat());
        }
    }
}

/// Seconds of the fastest call.
fn fastest(call: &mut dyn FnMut()) -> f64 {
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < TIME {
        let begin = Instant::now();
        (0..CALLS).for_each(|_| call());
        best = best.min(begin.elapsed().as_secs_f64() / f64::from(CALLS));
    }
    best
}
