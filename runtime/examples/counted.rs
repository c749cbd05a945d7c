//! One encoding's panels, multiplied a given number of times and nothing else: for counting
//! instructions, the steady figure beside noisy times. `counted TIER ENCODING TOKENS TIMES`;
//! [`kernels/instructions.sh`] runs it under callgrind, and [`kernels/mca.sh`] through a model of
//! an Arm core.
//!
//! [`kernels/instructions.sh`]: ../../kernels/instructions.sh
//! [`kernels/mca.sh`]: ../../kernels/mca.sh

use std::hint::black_box;

use hardtack_format::encoding::{Encoding, PANEL_ROWS, TILE_HEAD_BYTES};
use hardtack_kernels::{Activations, activations::groups};

const COLUMNS: usize = 2048;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tier, encoding, tokens, times] = &arguments[..] else {
        panic!("expected TIER ENCODING TOKENS TIMES")
    };
    let tables = hardtack::kernel_tiers();
    let table =
        tables.into_iter().find(|table| table.name == tier).expect("a tier of this processor");
    let encoding = Encoding::MATRICES
        .into_iter()
        .find(|known| known.name() == encoding)
        .expect("an encoding of matrices");
    let (tokens, times): (usize, usize) =
        (tokens.parse().expect("a number"), times.parse().expect("a number"));

    let mut panel = vec![0x5a; encoding.panel_bytes(COLUMNS as u32) as usize];
    if encoding.code_bits().is_some() {
        // f16 numbers of about 1.
        panel
            .chunks_exact_mut(encoding.tile_bytes())
            .for_each(|tile| tile[..TILE_HEAD_BYTES].fill(0x3c));
    }
    let (floats, codes) = (vec![1.0; tokens * COLUMNS], vec![1; tokens * COLUMNS]);
    let (scales, sums) = (vec![1.0; tokens * groups(COLUMNS)], vec![1.0; tokens * groups(COLUMNS)]);
    let activations = Activations {
        columns: COLUMNS,
        floats: &floats,
        codes: &codes,
        scales: &scales,
        sums: &sums,
    };
    let mut out = vec![[0.0; PANEL_ROWS]; tokens];
    for _ in 0..times {
        table.panel(encoding)(black_box(&panel), &activations, 0, &mut out);
        black_box(&mut out);
    }
}
