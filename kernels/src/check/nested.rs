//! Holds the products with nested codes to scalar, to the bit.

use alloc::vec;
use alloc::vec::Vec;

use half::f16;

use super::bounds::same_bits;
use super::data::{Data, Random};
use crate::nested::{CODE_BITS, CodeGroup, Folded, GROUP_ROWS, pack_unit};
use crate::scalar;
use crate::table::KernelTable;

const ROWS: [usize; 3] = [8, 40, 64];
const COLUMNS: [usize; 3] = [32, 64, 96];
const INPUTS_MAX: usize = 13;
/// Numbers of inputs; many are taken another way than few.
const INPUTS: [usize; 9] = [0, 1, 2, 3, 4, 5, 6, 8, INPUTS_MAX];
const LENGTHS: [usize; 8] = [0, 1, 7, 8, 16, 33, 63, 64];

/// A group that owns its units.
struct Group {
    rows: usize,
    columns: usize,
    bits: u32,
    /// Each begins at an odd address, as nothing promises an even one.
    units: Vec<Vec<u8>>,
}

impl Group {
    fn new(bits: u32, rows: usize, columns: usize, largest: bool) -> Self {
        let mut random = Random((rows * columns) as u64);
        let mut codes = || if largest { 255 } else { random.byte() };
        let codes: Vec<u8> = (0..rows * columns).map(|_| codes()).collect();
        let bytes = CodeGroup::unit_bytes(rows, columns);
        let mut units = vec![vec![0; bytes + 1]; bits as usize];
        units
            .iter_mut()
            .enumerate()
            .for_each(|(unit, bytes)| pack_unit(unit, rows, &codes, &mut bytes[1..]));
        Self { rows, columns, bits, units }
    }

    fn view(&self) -> CodeGroup<'_> {
        let unit = |at: usize| self.units.get(at).map_or(&[][..], |unit| &unit[1..]);
        CodeGroup {
            bits: self.bits,
            rows: self.rows,
            columns: self.columns,
            units: core::array::from_fn(unit),
        }
    }
}

/// Inputs of both signs, or all as large as they get.
fn inputs(largest: bool) -> Vec<Folded> {
    let mut random = Random(5);
    let mut input = |index: usize| {
        let sign = if index.is_multiple_of(2) { 1 } else { -1 };
        let mut code = |_| {
            if largest { 32767 * sign } else { (i32::from(random.byte()) * 251 - 32000) as i16 }
        };
        Folded { codes: core::array::from_fn(&mut code), scale: 0.37 + index as f32 }
    };
    (0..INPUTS_MAX).map(&mut input).collect()
}

/// Holds `fold`, `code_rows` and `code_columns` to scalar.
pub fn check_nested(table: &KernelTable) {
    for length in LENGTHS {
        for data in Data::ALL {
            let mut random = Random(length as u64 + 3);
            let x = random.floats(length, data);
            let ranges: Vec<f16> =
                random.floats(length, data.of_f16()).into_iter().map(f16::from_f32).collect();
            check_fold(table, &x, &ranges, data);
        }
    }
    for bits in CODE_BITS {
        for (rows, columns) in
            ROWS.into_iter().flat_map(|rows| COLUMNS.map(|columns| (rows, columns)))
        {
            for largest in [false, true] {
                let (group, inputs) = (Group::new(bits, rows, columns, largest), inputs(largest));
                // It computes nothing; that it can be called with all of these is all there is to
                // see.
                (table.prefetch)(&group.view(), [&[f16::ONE; GROUP_ROWS][..rows], &[]]);
                let what =
                    alloc::format!("{}: {bits} bits, {rows} rows, {columns} columns", table.name);
                let products = |run: fn(&CodeGroup<'_>, &[Folded], &mut [f32]),
                                inputs: &[Folded],
                                width: usize| {
                    let mut out = vec![1.25; inputs.len() * width];
                    run(&group.view(), inputs, &mut out);
                    out
                };
                let rows_truth = products(scalar::TABLE.code_rows, &inputs, columns);
                let columns_fit = columns <= GROUP_ROWS;
                let columns_truth = if columns_fit {
                    products(scalar::TABLE.code_columns, &inputs, rows)
                } else {
                    Vec::new()
                };
                for count in INPUTS {
                    let some = &inputs[..count];
                    let (ours, truth) =
                        (products(table.code_rows, some, columns), &rows_truth[..count * columns]);
                    assert!(
                        same_bits(&ours, truth),
                        "{what}: code_rows of {count}: {ours:?} is not {truth:?}"
                    );
                    if columns_fit {
                        let (ours, truth) = (
                            products(table.code_columns, some, rows),
                            &columns_truth[..count * rows],
                        );
                        assert!(
                            same_bits(&ours, truth),
                            "{what}: code_columns of {count}: {ours:?} is not {truth:?}"
                        );
                    }
                }
            }
        }
    }
}

fn check_fold(table: &KernelTable, x: &[f32], ranges: &[f16], data: Data) {
    let run = |table: &KernelTable| {
        let mut out = Folded { codes: [99; GROUP_ROWS], scale: 9.0 };
        (table.fold)(x, ranges, &mut out);
        out
    };
    let (ours, truth) = (run(table), run(&scalar::TABLE));
    let what = alloc::format!("{}: fold of {}, {data:?}", table.name, x.len());
    assert_eq!(ours.codes, truth.codes, "{what}: codes are not scalar's");
    assert_eq!(ours.scale.to_bits(), truth.scale.to_bits(), "{what}: scale is not scalar's");
}

/// Calls the entries with lengths that do not agree.
pub fn wrong_lengths(table: &KernelTable, must_panic: &mut dyn FnMut(&str, &dyn Fn())) {
    let group = Group::new(4, 16, 64, false);
    let (view, two) = (group.view(), [Folded::ZERO; 2]);
    let halves = [f16::ONE; GROUP_ROWS + 1];
    must_panic("fold: ranges", &|| (table.fold)(&[0.0; 9], &halves[..8], &mut { Folded::ZERO }));
    must_panic("fold: more than a group", &|| {
        (table.fold)(&[0.0; GROUP_ROWS + 1], &halves, &mut { Folded::ZERO })
    });
    let mut short = view;
    short.units[3] = &view.units[3][1..];
    let broken = [
        CodeGroup { bits: 5, ..view },
        CodeGroup { bits: 6, ..view },
        CodeGroup { rows: 12, ..view },
        CodeGroup { rows: 0, ..view },
        CodeGroup { columns: 60, ..view },
        CodeGroup { columns: 0, ..view },
        short,
    ];
    for broken in broken {
        let (columns, rows) = (2 * broken.columns, 2 * broken.rows);
        must_panic("code_rows: group", &|| {
            (table.code_rows)(&broken, &two, &mut vec![0.0; columns])
        });
        must_panic("code_columns: group", &|| {
            (table.code_columns)(&broken, &two, &mut vec![0.0; rows])
        });
    }
    must_panic("code_rows: out", &|| (table.code_rows)(&view, &two, &mut [0.0; 127]));
    must_panic("code_columns: out", &|| (table.code_columns)(&view, &two, &mut [0.0; 33]));
    let wide = Group::new(4, 16, 96, false);
    must_panic("code_columns: columns", &|| {
        (table.code_columns)(&wide.view(), &two, &mut [0.0; 32])
    });
}
