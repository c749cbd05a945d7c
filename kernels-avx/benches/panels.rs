//! How fast panels are multiplied on one thread: with one token, which waits for memory, and with
//! 24, which share what the caches hold. Beside them, reading the same bytes.
//!
//! `HARDTACK_MEGABYTES=256 cargo bench -p hardtack-kernels-avx --bench panels`. The fastest run
//! counts, as the others had neighbours. Small pages cost a tenth of the reading speed:
//! `GLIBC_TUNABLES=glibc.malloc.hugetlb=1` requests huge ones.

use std::fmt;
use std::hint::black_box;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use hardtack_format::encoding::{Encoding, GROUP_COLUMNS, PANEL_ROWS};
use hardtack_kernels::activations::groups;
use hardtack_kernels::{Activations, ActivationsMut, KernelTable, portable, scalar};
use hardtack_kernels_avx::{avx2, avx512vnni, avxvnni};

const COLUMNS: usize = 2048;
const TOKENS_MAX: usize = 24;
/// As many panels as a thread's piece of a matrix has.
const PIECE_PANELS: usize = 16;

fn main() {
    divan::main();
}

/// A tier's panels of one encoding.
#[derive(Clone, Copy)]
struct Case {
    table: &'static KernelTable,
    encoding: Encoding,
}

impl fmt::Display for Case {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", self.encoding.name(), self.table.name)
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let tables = [Some(&portable::TABLE), avx2(), avxvnni(), avx512vnni()];
    let tables =
        move |encoding| tables.into_iter().flatten().map(move |table| Case { table, encoding });
    Encoding::MATRICES.into_iter().flat_map(tables)
}

#[divan::bench(max_time = 0.6)]
fn read(bencher: Bencher<'_, '_>) {
    let weights = weights(Encoding::Q8);
    bencher.counter(BytesCount::of_slice(&weights)).bench_local(|| {
        let mut sums = [0u64; 16];
        for words in weights.as_chunks::<8>().0.as_chunks::<16>().0 {
            for (sum, word) in sums.iter_mut().zip(words) {
                *sum ^= u64::from_le_bytes(*word);
            }
        }
        sums
    });
}

#[divan::bench(args = cases(), max_time = 0.6)]
fn one_token(bencher: Bencher<'_, '_>, case: Case) {
    let panels = if case.table.streams > 1 { PIECE_PANELS } else { 1 };
    multiply(bencher, case, 1, panels);
}

#[divan::bench(args = cases(), max_time = 0.6)]
fn many_tokens(bencher: Bencher<'_, '_>, case: Case) {
    multiply(bencher, case, TOKENS_MAX, 1);
}

/// Multiplies all weights, some panels of them in a call.
fn multiply(bencher: Bencher<'_, '_>, case: Case, tokens: usize, panels: usize) {
    let (weights, inputs) = (weights(case.encoding), Inputs::new());
    let panel_bytes = case.encoding.panel_bytes(COLUMNS as u32) as usize;
    let panel = case.table.panel(case.encoding);
    let mut out = vec![[0.0; PANEL_ROWS]; tokens * panels];
    let products = weights.len() / panel_bytes * COLUMNS * PANEL_ROWS * tokens;
    bencher.counter(BytesCount::of_slice(&weights)).counter(ItemsCount::new(products)).bench_local(
        || {
            for panels in weights.chunks(panel_bytes * panels) {
                let out = &mut out[..tokens * panels.len() / panel_bytes];
                panel(panels, &inputs.view(), 0, out);
                black_box(out);
            }
        },
    );
}

/// Whole panels. Any codes and floats will do, if scales are finite and nothing is denormal.
fn weights(encoding: Encoding) -> Vec<u8> {
    let megabytes = std::env::var("HARDTACK_MEGABYTES").map_or(64, |text| text.parse().unwrap());
    let panel_bytes = encoding.panel_bytes(COLUMNS as u32) as usize;
    let mut bytes = vec![0; (megabytes << 20) / panel_bytes * panel_bytes];
    let mut state = 1u64;
    for word in bytes.as_chunks_mut::<8>().0 {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        *word = match encoding.code_bits() {
            Some(_) => state.rotate_left(20).to_le_bytes(),
            None => ((state >> 8) & 0x3fff_3fff_3fff_3fff | 0x2000_2000_2000_2000).to_le_bytes(),
        };
    }
    if encoding.code_bits().is_some() {
        for tile in bytes.chunks_exact_mut(encoding.tile_bytes()) {
            tile[..PANEL_ROWS * 4].as_chunks_mut().0.fill(0x3123_u16.to_le_bytes());
        }
    }
    bytes
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
