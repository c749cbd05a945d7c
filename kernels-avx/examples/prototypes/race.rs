//! Who is compared with whom, the clock, and the tables.

use std::hint::black_box;
use std::time::Instant;

use hardtack_format::encoding::{
    Encoding, GROUP_COLUMNS, PANEL_ROWS, TILE_BIT_BYTES, TILE_HEAD_BYTES,
};
use hardtack_kernels::{
    Activations, ActivationsMut, KernelTable, PanelRows, hadamard::hadamard, scalar,
};

use crate::{codebook, lookup, panel_q4, rotation, two_level};

/// Columns of the panels.
const COLUMNS: usize = 2048;
const GROUPS: usize = COLUMNS / GROUP_COLUMNS;
/// Weights that caches do not hold, and those of one timing; in between the others take their
/// turns.
const MEMORY_BYTES: usize = 320 << 20;
const TURN_BYTES: usize = 2 << 20;
/// Weights that the second cache holds.
const CACHE_BYTES: usize = 512 << 10;
/// Turns of each: enough for a median on a machine with other work.
const TURNS: usize = 301;

type Run<'a> = dyn Fn(&[u8], &mut PanelRows) + 'a;

/// One kernel, its bytes for a panel, and whom it is measured against.
struct Runner<'a> {
    name: String,
    panel_bytes: usize,
    shipped: usize,
    run: Box<Run<'a>>,
}

/// All tables.
pub fn all() {
    let tables = [hardtack_kernels_avx::avx2(), hardtack_kernels_avx::avxvnni()];
    let inputs = Inputs::new(COLUMNS);
    let sums = lookup::tables(&inputs.view());
    let halves: Vec<f32> = inputs.sums.iter().flat_map(|sum| [0.5 * sum; 2]).collect();
    let mut memory = vec![0u8; MEMORY_BYTES];
    let mut state = 1u64;
    for word in memory.as_chunks_mut::<8>().0 {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        *word = state.rotate_left(20).to_le_bytes();
    }
    for table in tables.into_iter().flatten() {
        let runners = runners(table, &inputs, &halves, &sums);
        println!("{}\n", table.name);
        println!(
            "| | bits a weight | cache: 10^9 weights/s, GB/s | of shipped | memory: 10^9 weights/s, GB/s | of shipped |"
        );
        println!("|---|---|---|---|---|---|");
        let cache = race(&runners, &memory[..CACHE_BYTES], CACHE_BYTES);
        let far = race(&runners, &memory, TURN_BYTES);
        for ((runner, cache), far) in runners.iter().zip(cache).zip(far) {
            let bits = (runner.panel_bytes * 8) as f64 / (COLUMNS * PANEL_ROWS) as f64;
            let speed = |own: Speed| {
                format!("{:.2}, {:.1} | {:.2}", own.weights, own.weights * bits / 8.0, own.share)
            };
            println!("| {} | {bits:.3} | {} | {} |", runner.name, speed(cache), speed(far));
        }
        println!();
    }
    if let Some(table) = tables[0] {
        rotations(table);
    }
}

fn runners<'a>(
    table: &'a KernelTable,
    inputs: &'a Inputs,
    halves: &'a [f32],
    sums: &'a [lookup::Tables],
) -> Vec<Runner<'a>> {
    let activations = inputs.view();
    let mut all: Vec<Runner<'a>> = Vec::new();
    for encoding in Encoding::MATRICES.into_iter().filter(|own| own.code_bits().is_some()) {
        let kernel = table.panel(encoding);
        let run = move |panel: &[u8], out: &mut PanelRows| {
            kernel(panel, &activations, 0, std::slice::from_mut(out))
        };
        let panel_bytes = encoding.panel_bytes(COLUMNS as u32) as usize;
        all.push(Runner {
            name: encoding.name().to_owned(),
            panel_bytes,
            shipped: all.len(),
            run: Box::new(run),
        });
    }
    type Codebook = unsafe fn(&[u8], &Activations<'_>, &codebook::Table, &mut [PanelRows]);
    let codebooks: [Codebook; 3] = if table.name == "avx2" {
        [codebook::q2, codebook::q3, codebook::q4]
    } else {
        [codebook::q2_vnni, codebook::q3_vnni, codebook::q4_vnni]
    };
    for (bits, kernel) in (2..).zip(codebooks) {
        let entries = core::array::from_fn(|at| at as u8);
        // SAFETY: the table is only there where the processor has the features.
        let run = move |panel: &[u8], out: &mut PanelRows| unsafe {
            kernel(panel, &activations, &entries, std::slice::from_mut(out));
        };
        let shipped = bits - 1;
        let panel_bytes = all[shipped].panel_bytes;
        agree(&all[shipped].run, &run, panel_bytes);
        all.push(Runner {
            name: format!("codebook, {bits} bits"),
            panel_bytes,
            shipped,
            run: Box::new(run),
        });
    }
    all.extend(lookups(activations, sums));
    if table.name == "avx2" {
        // The shipped codes through the source that the prototypes are built of: what compiling it
        // here changes.
        let run = move |panel: &[u8], out: &mut PanelRows| {
            panel_q4::panel_q4(panel, &activations, 0, std::slice::from_mut(out));
        };
        let panel_bytes = all[Q4].panel_bytes;
        all.push(Runner {
            name: "q4, compiled here".to_owned(),
            panel_bytes,
            shipped: Q4,
            run: Box::new(run),
        });
        all.extend(two_levels(activations, &inputs.sums, halves));
    }
    all
}

fn lookups<'a>(activations: Activations<'a>, sums: &'a [lookup::Tables]) -> [Runner<'a>; 2] {
    type Panel = unsafe fn(&[u8], &Activations<'_>, &[lookup::Tables], &mut PanelRows);
    let kernels: [(usize, Panel); 2] =
        [(1, lookup::panel::<{ tile_bytes(1) }>), (2, lookup::panel::<{ tile_bytes(2) }>)];
    kernels.map(|(bits, kernel)| {
        // SAFETY: every table of this program has the features of AVX2.
        let run = move |panel: &[u8], out: &mut PanelRows| unsafe {
            kernel(panel, &activations, sums, out)
        };
        let panel_bytes = GROUPS * tile_bytes(bits);
        looks_up_products(&run, &activations, bits);
        Runner {
            name: format!("lookup, {bits} bits"),
            panel_bytes,
            shipped: bits - 1,
            run: Box::new(run),
        }
    })
}

/// Sums looked up must be sums of products, for scales and minima of one number.
fn looks_up_products(run: &Run<'_>, activations: &Activations<'_>, bits: usize) {
    let mut panel: Vec<u8> =
        (0..GROUPS * tile_bytes(bits)).map(|at| (at * 37 % 251) as u8).collect();
    panel.chunks_exact_mut(tile_bytes(bits)).for_each(|tile| tile[..TILE_HEAD_BYTES].fill(0x31));
    let mut found = [0.0; PANEL_ROWS];
    run(&panel, &mut found);
    let (codes, scales, sums) = activations.token_codes(0);
    let scale = half::f16::from_bits(0x3131).to_f32();
    for (row, found) in found.into_iter().enumerate() {
        let mut expected = 0.0;
        for (group, tile) in panel.chunks_exact(tile_bytes(bits)).enumerate() {
            let inputs = codes[group * GROUP_COLUMNS..].iter().take(GROUP_COLUMNS).enumerate();
            let sum: i32 = inputs
                .map(|(at, input)| lookup::code(tile, bits, row, at) * i32::from(*input))
                .sum();
            expected += (sum as f32 * scales[group]) * scale + sums[group] * scale;
        }
        assert_eq!(found, expected, "row {row} of {bits} bits");
    }
}

/// Bytes of a tile of so many bits a code.
const fn tile_bytes(bits: usize) -> usize {
    TILE_HEAD_BYTES + bits * TILE_BIT_BYTES
}

/// Where the shipped 4-bit kernel stands among the runners.
const Q4: usize = 3;

fn two_levels<'a>(
    activations: Activations<'a>,
    sums: &'a [f32],
    halves: &'a [f32],
) -> [Runner<'a>; 4] {
    use two_level::{CODED, HALVES, panel, tile_bytes};
    type Panel = unsafe fn(&[u8], &Activations<'_>, &[f32], &mut PanelRows);
    let kernels: [(&str, usize, &'a [f32], Panel); 4] = [
        (
            "half floats, groups of 64",
            tile_bytes(HALVES, 1),
            sums,
            panel::<HALVES, 1, { tile_bytes(HALVES, 1) }>,
        ),
        (
            "half floats, groups of 32",
            tile_bytes(HALVES, 2),
            halves,
            panel::<HALVES, 2, { tile_bytes(HALVES, 2) }>,
        ),
        (
            "6 bits under a tile, groups of 64",
            tile_bytes(CODED, 1),
            sums,
            panel::<CODED, 1, { tile_bytes(CODED, 1) }>,
        ),
        (
            "6 bits under a tile, groups of 32",
            tile_bytes(CODED, 2),
            halves,
            panel::<CODED, 2, { tile_bytes(CODED, 2) }>,
        ),
    ];
    let runners = kernels.map(|(name, tile_bytes, sums, kernel)| {
        // SAFETY: the table of this tier is only there where the processor has the features.
        let run = move |panel: &[u8], out: &mut PanelRows| unsafe {
            kernel(panel, &activations, sums, out)
        };
        Runner {
            name: format!("4 bits, {name}"),
            panel_bytes: GROUPS * tile_bytes,
            shipped: Q4,
            run: Box::new(run),
        }
    });
    let expected = of_ones(&runners[0]);
    for found in runners[1..].iter().map(of_ones) {
        let near = expected
            .iter()
            .zip(found)
            .all(|(expected, found)| (expected - found).abs() <= 1e-4 * expected.abs());
        assert!(near, "the same weights: {expected:?}, {found:?}");
    }
    runners
}

/// What a panel gives whose scales and minima are all one number, however they are kept.
fn of_ones(runner: &Runner<'_>) -> PanelRows {
    let tile_bytes = runner.panel_bytes / GROUPS;
    let mut panel = vec![0; runner.panel_bytes];
    for tile in panel.chunks_exact_mut(tile_bytes) {
        let (head, plane) = tile.split_at_mut(tile_bytes - 4 * TILE_BIT_BYTES);
        head.fill(0x31);
        if head.len() < TILE_HEAD_BYTES {
            // Behind the tile's own: scales and minima of 1.
            for group in head[4..].as_chunks_mut::<24>().0 {
                group.fill(0);
                group[..PANEL_ROWS].fill(0x41);
            }
        }
        plane.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 37 % 251) as u8);
    }
    let mut out = [0.0; PANEL_ROWS];
    (runner.run)(&panel, &mut out);
    out
}

/// A table whose entries are the codes must give what the shipped kernel gives.
fn agree(shipped: &Run<'_>, other: &Run<'_>, panel_bytes: usize) {
    let mut panel: Vec<u8> = (0..panel_bytes).map(|at| (at * 37 % 251) as u8).collect();
    for tile in panel.chunks_exact_mut(panel_bytes / GROUPS) {
        tile[..PANEL_ROWS * 4].fill(0x31);
    }
    let (mut expected, mut found) = ([0.0; PANEL_ROWS], [0.0; PANEL_ROWS]);
    shipped(&panel, &mut expected);
    other(&panel, &mut found);
    assert_eq!(expected, found, "the same codes");
}

#[derive(Clone, Copy)]
struct Speed {
    /// Billions a second.
    weights: f64,
    /// As a multiple of the shipped kernel's.
    share: f64,
}

/// Medians over turns. In every turn each kernel gets the next `bytes` of the memory.
fn race(runners: &[Runner<'_>], memory: &[u8], bytes: usize) -> Vec<Speed> {
    let mut times = vec![Vec::new(); runners.len()];
    let parts: Vec<&[u8]> = memory.chunks_exact(bytes).collect();
    let mut out = [0.0; PANEL_ROWS];
    for turn in 0..TURNS {
        for (index, runner) in runners.iter().enumerate() {
            let part = parts[(turn * runners.len() + index) % parts.len()];
            let start = Instant::now();
            for panel in part.chunks_exact(runner.panel_bytes) {
                (runner.run)(panel, &mut out);
                black_box(&mut out);
            }
            let panels = part.len() / runner.panel_bytes;
            times[index]
                .push(start.elapsed().as_secs_f64() * 1e9 / (panels * COLUMNS * PANEL_ROWS) as f64);
        }
    }
    let of = |(own, runner): (&Vec<f64>, &Runner<'_>)| {
        let shares =
            own.iter().zip(&times[runner.shipped]).map(|(own, shipped)| shipped / own).collect();
        Speed { weights: 1.0 / median(own.clone()), share: median(shares) }
    };
    times.iter().zip(runners).map(of).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What turning the input costs beside the product that follows.
fn rotations(table: &KernelTable) {
    println!(
        "| rows x columns | 4-bit product | input to int8 | turned by 64 | by 128 | by 64, portable | share of the product, by 64 |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (rows, columns) in [(128, 256), (256, 128), (1024, 2048), (2048, 1024)] {
        let mut inputs = Inputs::new(columns);
        let panel_bytes = Encoding::Q4.panel_bytes(columns as u32) as usize;
        let weights: Vec<u8> =
            (0..panel_bytes * rows / PANEL_ROWS).map(|at| (at * 37 % 251) as u8).collect();
        let mut values = inputs.floats.clone();
        let mut out = [[0.0; PANEL_ROWS]; 1];
        let mut times: [Vec<f64>; 5] = Default::default();
        for _ in 0..TURNS {
            let product = nanoseconds(if rows < 1024 { CALLS } else { 1 }, &mut || {
                for panel in weights.chunks_exact(panel_bytes) {
                    table.panel(Encoding::Q4)(panel, &inputs.view(), 0, &mut out);
                    black_box(&mut out);
                }
            });
            let quantize = nanoseconds(CALLS, &mut || inputs.quantize(table));
            values.copy_from_slice(&inputs.floats);
            // SAFETY: the table is only there where the processor has the features.
            let by_64 =
                nanoseconds(CALLS, &mut || unsafe { rotation::turn::<8>(black_box(&mut values)) });
            values.copy_from_slice(&inputs.floats);
            // SAFETY: as above.
            let by_128 =
                nanoseconds(CALLS, &mut || unsafe { rotation::turn::<16>(black_box(&mut values)) });
            let plain = nanoseconds(CALLS, &mut || {
                black_box(&mut values).chunks_exact_mut(64).for_each(hadamard)
            });
            for (times, own) in times.iter_mut().zip([product, quantize, by_64, by_128, plain]) {
                times.push(own);
            }
        }
        let share =
            median(times[2].iter().zip(&times[0]).map(|(turn, product)| turn / product).collect());
        let [product, quantize, by_64, by_128, portable] = times.map(median);
        println!(
            "| {rows} x {columns} | {product:.0} ns | {quantize:.0} ns | {by_64:.0} ns | {by_128:.0} ns | {portable:.0} ns | {share:.4} |"
        );
    }
}

/// Of one call among several.
fn nanoseconds(calls: usize, run: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    (0..calls).for_each(|_| run());
    start.elapsed().as_secs_f64() * 1e9 / calls as f64
}

/// Calls that take a while of which the clock is no part, but end before other work takes the
/// processor.
const CALLS: usize = 20;

/// One token.
struct Inputs {
    floats: Vec<f32>,
    codes: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<f32>,
}

impl Inputs {
    fn new(columns: usize) -> Self {
        let floats = (0..columns).map(|at| (at as f32 * 0.37).sin()).collect();
        let groups = columns.div_ceil(GROUP_COLUMNS);
        let mut own = Self {
            floats,
            codes: vec![0; columns],
            scales: vec![0.0; groups],
            sums: vec![0.0; groups],
        };
        own.quantize(&scalar::TABLE);
        own
    }

    fn quantize(&mut self, table: &KernelTable) {
        let Self { floats, codes, scales, sums } = self;
        (table.quantize)(ActivationsMut { floats, codes, scales, sums });
    }

    fn view(&self) -> Activations<'_> {
        let Self { floats, codes, scales, sums } = self;
        Activations { columns: floats.len(), floats, codes, scales, sums }
    }
}
