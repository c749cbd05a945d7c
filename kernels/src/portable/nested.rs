//! Products with nested codes, a vector of 32 codes at a time: written so that a compiler finds the
//! vectors.

use half::f16;

use crate::math::{ACTIVATION_MIN, ROUNDER};
use crate::nested::{
    CodeGroup, Folded, GROUP_ROWS, INPUT_MAX, TILE_COLUMNS, TILE_ROWS, TILE_UNIT_BYTES, check_fold,
};

/// Vectors of a tile.
const VECTORS: usize = 8;
/// Bytes of a vector, which are codes of 16 columns of two rows.
const VECTOR_BYTES: usize = 32;
/// Columns of a vector.
const VECTOR_COLUMNS: usize = VECTOR_BYTES / 2;

pub(super) fn fold(inputs: &[f32], ranges: &[f16], out: &mut Folded) {
    check_fold(inputs, ranges);
    let mut products = [0.0; GROUP_ROWS];
    for ((product, input), range) in products.iter_mut().zip(inputs).zip(ranges) {
        *product = input * range.to_f32();
    }
    let largest = products.iter().fold(0.0f32, |largest, product| largest.max(product.abs()));
    let (scale, inverse) = if largest < ACTIVATION_MIN {
        (0.0, 0.0)
    } else {
        (largest / INPUT_MAX, INPUT_MAX / largest)
    };
    for (code, product) in out.codes.iter_mut().zip(products) {
        // What `math::round` does, the integer taken from the lowest bits of what was rounded.
        let rounded = product * inverse + ROUNDER;
        *code = rounded.to_bits().wrapping_sub(ROUNDER.to_bits()) as i16;
    }
    out.scale = scale;
}

pub(super) fn code_rows(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    group.check();
    assert_eq!(out.len(), inputs.len() * group.columns, "a row for each input");
    let tiles = group.rows / TILE_ROWS;
    for block in 0..group.columns / TILE_COLUMNS {
        let mut codes = [[[0; VECTOR_BYTES]; VECTORS]; GROUP_ROWS / TILE_ROWS];
        for (tile, codes) in codes[..tiles].iter_mut().enumerate() {
            *codes = unpack(group, block * tiles + tile);
        }
        for (input, out) in inputs.iter().zip(out.chunks_exact_mut(group.columns)) {
            let mut sums = [[0i32; VECTOR_COLUMNS]; 2];
            for (codes, rows) in codes[..tiles].iter().zip(input.codes.as_chunks::<TILE_ROWS>().0) {
                for (vector, codes) in codes.iter().enumerate() {
                    let (even, odd) =
                        (i32::from(rows[vector / 2 * 2]), i32::from(rows[vector / 2 * 2 + 1]));
                    for (sum, [first, second]) in
                        sums[vector % 2].iter_mut().zip(codes.as_chunks::<2>().0)
                    {
                        *sum += i32::from(*first) * even + i32::from(*second) * odd;
                    }
                }
            }
            let out = &mut out[block * TILE_COLUMNS..(block + 1) * TILE_COLUMNS];
            for (out, &sum) in out.iter_mut().zip(sums.as_flattened()) {
                *out += sum as f32 * input.scale;
            }
        }
    }
}

pub(super) fn code_columns(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    group.check();
    assert!(group.columns <= GROUP_ROWS, "an input has a number for each column");
    assert_eq!(out.len(), inputs.len() * group.rows, "a number for each row and input");
    let tiles = group.rows / TILE_ROWS;
    for (input, out) in inputs.iter().zip(out.chunks_exact_mut(group.rows)) {
        for tile in 0..tiles {
            let mut sums = [0i32; TILE_ROWS];
            for (block, columns) in
                input.codes[..group.columns].as_chunks::<TILE_COLUMNS>().0.iter().enumerate()
            {
                let codes = unpack(group, block * tiles + tile);
                for (vector, codes) in codes.iter().enumerate() {
                    let columns = &columns[vector % 2 * VECTOR_COLUMNS..][..VECTOR_COLUMNS];
                    let (mut even, mut odd) = (0, 0);
                    for ([first, second], &column) in codes.as_chunks::<2>().0.iter().zip(columns) {
                        even += i32::from(*first) * i32::from(column);
                        odd += i32::from(*second) * i32::from(column);
                    }
                    sums[vector / 2 * 2] += even;
                    sums[vector / 2 * 2 + 1] += odd;
                }
            }
            for (out, sum) in out[tile * TILE_ROWS..].iter_mut().zip(sums) {
                *out += sum as f32 * input.scale;
            }
        }
    }
}

/// The codes of one tile as vectors of bytes.
fn unpack(group: &CodeGroup<'_>, tile: usize) -> [[u8; VECTOR_BYTES]; VECTORS] {
    match group.bits {
        2 => unpack_bits::<2>(group, tile),
        3 => unpack_bits::<3>(group, tile),
        4 => unpack_bits::<4>(group, tile),
        6 => unpack_bits::<6>(group, tile),
        _ => unpack_bits::<8>(group, tile),
    }
}

#[inline]
fn unpack_bits<const BITS: usize>(
    group: &CodeGroup<'_>,
    tile: usize,
) -> [[u8; VECTOR_BYTES]; VECTORS] {
    let unit = |unit: usize| -> &[u8; TILE_UNIT_BYTES] {
        group.units[unit][tile * TILE_UNIT_BYTES..].first_chunk().expect("a tile of the unit")
    };
    let mut out = [[0; VECTOR_BYTES]; VECTORS];
    for (vector, out) in out.iter_mut().enumerate() {
        let (pair, two, one) = (vector / 4, vector % 4 * 2, vector);
        let mut add = |bytes: &[u8; TILE_UNIT_BYTES], field: usize, mask: u8, place: usize| {
            for (out, byte) in out.iter_mut().zip(bytes) {
                *out |= (byte >> field & mask) << place;
            }
        };
        add(unit(pair), two, 3, BITS - 2);
        if BITS >= 3 {
            add(unit(2), one, 1, BITS - 3);
        }
        if BITS >= 4 {
            add(unit(3), one, 1, BITS - 4);
        }
        if BITS >= 6 {
            add(unit(4 + pair), two, 3, BITS - 6);
        }
        if BITS >= 8 {
            add(unit(6 + pair), two, 3, 0);
        }
    }
    out
}
