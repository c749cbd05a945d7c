//! How fast panels are multiplied: for each encoding and tier the weights read per second on one
//! thread, beside plainly reading the same bytes. `panels [megabytes] [name of an encoding or a
//! tier]...`
//!
//! Small pages cost a tenth of the reading speed: `GLIBC_TUNABLES=glibc.malloc.hugetlb=1` asks for
//! huge ones.

use std::hint::black_box;
use std::time::{Duration, Instant};

use hardtack_format::encoding::{Encoding, GROUP_COLUMNS, PANEL_ROWS};
use hardtack_kernels::{
    Activations, ActivationsMut, KernelTable, activations::groups, portable, scalar,
};
use hardtack_kernels_avx::{avx2, avx512vnni, avxvnni};

const COLUMNS: usize = 2048;
const TOKENS_MAX: usize = 24;
const PIECE_PANELS: usize = 16;
/// Repetitions go on for so long; the fastest counts, as the others had neighbours.
const TIME: Duration = Duration::from_millis(600);

fn main() {
    let mut megabytes = 64;
    let mut names = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.parse() {
            Ok(number) => megabytes = number,
            Err(_) => names.push(argument),
        }
    }
    let wanted = |name: &str, all: &[&str]| {
        let mut of_this_kind =
            names.iter().filter(|wanted| all.contains(&wanted.as_str())).peekable();
        of_this_kind.peek().is_none() || of_this_kind.any(|wanted| wanted == name)
    };
    let tables: Vec<&KernelTable> =
        [Some(&scalar::TABLE), Some(&portable::TABLE), avx2(), avxvnni(), avx512vnni()]
            .into_iter()
            .flatten()
            .collect();
    let tiers: Vec<&str> = tables.iter().map(|table| table.name).collect();
    let encodings: Vec<&str> = Encoding::MATRICES.iter().map(|encoding| encoding.name()).collect();

    let inputs = Inputs::new();
    let mut memory = vec![0; megabytes << 20];
    println!(
        "{megabytes} MB of weights, {COLUMNS} columns, one thread; GB/s of weights (billions of products/s)"
    );
    println!("{:6}{:>10}{:>10}{:>20}{:>20}", "", "tier", "read", "1 token", "24 tokens");
    for encoding in Encoding::MATRICES {
        if !wanted(encoding.name(), &encodings) {
            continue;
        }
        let panel_bytes = encoding.panel_bytes(COLUMNS as u32) as usize;
        let bytes = memory.len() / panel_bytes * panel_bytes;
        fill(encoding, &mut memory[..bytes]);
        for table in &tables {
            if !wanted(table.name, &tiers) {
                continue;
            }
            // Scalar is far from the memory's speed: fewer weights will do.
            let bytes = if table.name == "scalar" { panel_bytes * 4 } else { bytes };
            let weights = &memory[..bytes];
            print!(
                "{:6}{:>10}{:>10.1}",
                encoding.name(),
                table.name,
                gigabytes(bytes, &mut || read(weights))
            );
            for tokens in [1, TOKENS_MAX] {
                // One token meets as many panels in a call as a thread's piece of a matrix has.
                let panels = if tokens == 1 && table.streams > 1 { PIECE_PANELS } else { 1 };
                let mut out = vec![[0.0; PANEL_ROWS]; tokens * panels];
                let speed = gigabytes(bytes, &mut || {
                    for panels in weights.chunks(panel_bytes * panels) {
                        let out = &mut out[..tokens * panels.len() / panel_bytes];
                        table.panel(encoding)(panels, &inputs.view(), 0, out);
                        black_box(out);
                    }
                });
                let products = (COLUMNS * PANEL_ROWS * tokens) as f64 / panel_bytes as f64 * speed;
                print!("{speed:>12.2} {:>7}", format!("({products:.1})"));
            }
            println!();
        }
    }
}

/// The fastest of several runs over so many bytes.
fn gigabytes(bytes: usize, run: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    while start.elapsed() < TIME {
        let begin = Instant::now();
        run();
        best = best.min(begin.elapsed().as_secs_f64());
    }
    bytes as f64 / best / 1e9
}

fn read(bytes: &[u8]) {
    let mut sums = [0u64; 16];
    for words in bytes.as_chunks::<8>().0.as_chunks::<16>().0 {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum ^= u64::from_le_bytes(*word);
        }
    }
    black_box(sums);
}

/// Anything will do for codes and floats, if scales are finite and nothing is denormal.
fn fill(encoding: Encoding, bytes: &mut [u8]) {
    let mut state = 1u64;
    for word in bytes.as_chunks_mut::<8>().0 {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        *word = ((state >> 8) & 0x3fff_3fff_3fff_3fff | 0x2000_2000_2000_2000).to_le_bytes();
        if encoding.code_bits().is_some() {
            *word = state.rotate_left(20).to_le_bytes();
        }
    }
    if encoding.code_bits().is_some() {
        for tile in bytes.chunks_exact_mut(encoding.tile_bytes()) {
            tile[..PANEL_ROWS * 4].as_chunks_mut().0.fill(0x3123_u16.to_le_bytes());
        }
    }
}

struct Inputs {
    floats: Vec<f32>,
    codes: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<f32>,
}

impl Inputs {
    fn new() -> Self {
        let groups = groups(COLUMNS);
        let floats: Vec<f32> =
            (0..COLUMNS * TOKENS_MAX).map(|at| (at as f32 * 0.37).sin()).collect();
        let mut codes = vec![0; TOKENS_MAX * groups * GROUP_COLUMNS];
        let (mut scales, mut sums) =
            (vec![0.0; TOKENS_MAX * groups], vec![0.0; TOKENS_MAX * groups]);
        let tokens =
            floats.chunks_exact(COLUMNS).zip(codes.chunks_exact_mut(groups * GROUP_COLUMNS));
        let scale_parts = scales.chunks_exact_mut(groups).zip(sums.chunks_exact_mut(groups));
        for ((floats, codes), (scales, sums)) in tokens.zip(scale_parts) {
            (scalar::TABLE.quantize)(ActivationsMut { floats, codes, scales, sums });
        }
        Self { floats, codes, scales, sums }
    }

    fn view(&self) -> Activations<'_> {
        let Self { floats, codes, scales, sums } = self;
        Activations { columns: COLUMNS, floats, codes, scales, sums }
    }
}
