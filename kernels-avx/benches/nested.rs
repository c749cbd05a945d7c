//! How fast inputs are multiplied with nested codes in the first caches, on one thread, by tier,
//! bits and how many inputs there are at once.
//!
//! `cargo bench -p hardtack-kernels-avx --bench nested`. Items are products.

use std::fmt;

use divan::Bencher;
use divan::counter::ItemsCount;
use hardtack_kernels::KernelTable;
use hardtack_kernels::nested::{CODE_BITS, CodeGroup, Folded, GROUP_ROWS};
use hardtack_kernels_avx::{avx2, avx512vnni, avxvnni};

const INPUTS: [usize; 7] = [1, 2, 3, 6, 8, 12, 16];
const COLUMNS: usize = 64;

fn main() {
    divan::main();
}

#[derive(Clone, Copy)]
struct Case {
    table: &'static KernelTable,
    bits: u32,
    inputs: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}, {} bits, {} inputs", self.table.name, self.bits, self.inputs)
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let sizes = CODE_BITS.into_iter().flat_map(|bits| INPUTS.map(|inputs| (bits, inputs)));
    [avx2(), avxvnni(), avx512vnni()].into_iter().flatten().flat_map(move |table| {
        sizes.clone().map(move |(bits, inputs)| Case { table, bits, inputs })
    })
}

#[divan::bench(args = cases(), max_time = 0.2)]
fn code_rows(bencher: Bencher<'_, '_>, case: Case) {
    let unit: Vec<u8> =
        (0..CodeGroup::unit_bytes(GROUP_ROWS, COLUMNS)).map(|at| (at * 37 % 251) as u8).collect();
    let group =
        CodeGroup { bits: case.bits, rows: GROUP_ROWS, columns: COLUMNS, units: [&unit; 8] };
    let inputs = vec![Folded { codes: [3; GROUP_ROWS], scale: 0.5 }; case.inputs];
    let mut out = vec![0.0; case.inputs * COLUMNS];
    bencher
        .counter(ItemsCount::new(case.inputs * GROUP_ROWS * COLUMNS))
        .bench_local(|| (case.table.code_rows)(&group, &inputs, divan::black_box(&mut out)));
}
