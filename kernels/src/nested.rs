//! Nested codes, in which a cache keeps keys and values. A matrix lies in bit planes, the highest
//! bits first: when the last planes are taken away, the same numbers are left at fewer bits.
//!
//! A row has a lowest value and a range. A code of `b` bits says in which of `2^b` equal parts of
//! the range a number lies. It stands for a place near the middle of that part ([`Places`]):
//! `lowest + range * (first + code * step)`. Dropping the last bits of a code leaves exactly the
//! code of fewer bits: nothing is lost by having been kept more precisely before.
//!
//! Codes lie in tiles of 8 rows by 32 columns, eight vectors of 32 bytes. Vector `v` holds rows
//! `v / 2 * 2` and the next one, columns `v % 2 * 16` to 15 further. Its byte `i` is row `i % 2` of
//! the two, column `i / 2`. Tiles lie `[columns / 32, rows / 8]`.
//!
//! A unit holds 32 bytes of every tile. Two units together hold two bits of each code: the first of
//! vectors 0 to 3, the second of vectors 4 to 7, vector `v` at bits `v % 4 * 2` of each byte. Other
//! units hold one bit of each code, vector `v` at bit `v`. Their order: two bits (units 0, 1), one
//! (2), one (3), two (4, 5), two (6, 7).

use half::f16;

/// Rows of a tile.
pub const TILE_ROWS: usize = 8;
/// Columns of a tile.
pub const TILE_COLUMNS: usize = 32;
/// Bytes of one unit of one tile: a bit for each code.
pub const TILE_UNIT_BYTES: usize = TILE_ROWS * TILE_COLUMNS / 8;
/// Most rows whose products are summed as integers.
pub const GROUP_ROWS: usize = 64;
/// Most units, and bits, of a code.
pub const UNITS_MAX: usize = 8;
/// How many bits a code may have.
pub const CODE_BITS: [u32; 5] = [2, 3, 4, 6, 8];

/// The largest magnitude of an input's code. Sums of 64 products with codes of 8 bits stay below
/// 2^30.
pub const INPUT_MAX: f32 = 32767.0;
const _: () = assert!(GROUP_ROWS as i64 * 32767 * 255 < 1 << 30);

/// Up to 64 rows of codes, where they lie.
#[derive(Clone, Copy, Debug)]
pub struct CodeGroup<'a> {
    /// Bits of a code, one of [`CODE_BITS`].
    pub bits: u32,
    /// A multiple of 8, at most 64.
    pub rows: usize,
    /// A multiple of 32.
    pub columns: usize,
    /// The first `bits` of them, each `[columns / 32, rows / 8]` times 32 bytes.
    pub units: [&'a [u8]; UNITS_MAX],
}

impl CodeGroup<'_> {
    /// Bytes of each unit.
    pub const fn unit_bytes(rows: usize, columns: usize) -> usize {
        rows / TILE_ROWS * (columns / TILE_COLUMNS) * TILE_UNIT_BYTES
    }

    /// Checks that sizes are what they may be and that every unit has its length.
    pub fn check(&self) {
        assert!(CODE_BITS.contains(&self.bits), "bits");
        assert!(
            self.rows.is_multiple_of(TILE_ROWS) && (1..=GROUP_ROWS).contains(&self.rows),
            "rows"
        );
        assert!(self.columns.is_multiple_of(TILE_COLUMNS) && self.columns > 0, "columns");
        let bytes = Self::unit_bytes(self.rows, self.columns);
        assert!(self.units[..self.bits as usize].iter().all(|unit| unit.len() == bytes), "units");
    }

    /// One code.
    pub fn code(&self, row: usize, column: usize) -> u8 {
        let tile = column / TILE_COLUMNS * (self.rows / TILE_ROWS) + row / TILE_ROWS;
        let (vector, byte) = place(row, column);
        let at = tile * TILE_UNIT_BYTES + byte;
        let mut code = 0;
        for_each_plane(self.bits, |first, width| {
            let (unit, field) = field(first, width, vector);
            code = code << width | (self.units[unit][at] >> field) & ((1 << width) - 1);
        });
        code
    }
}

/// Quantizes a row to codes of 8 bits, and returns its lowest value and its range. A code says in
/// which of 256 equal parts of the range a number lies, so that its first bits are the code of as
/// many bits.
///
/// The codes of NaN are undefined, but there is no panic.
pub fn quantize_row(values: impl Iterator<Item = f32> + Clone, codes: &mut [u8]) -> [f16; 2] {
    let bounds = |(least, most): (f32, f32), value: f32| (least.min(value), most.max(value));
    let (least, most) = values.clone().fold((f32::INFINITY, f32::NEG_INFINITY), bounds);
    let range = f16::from_f32(most - least).min(f16::MAX);
    let parts = if range > f16::ZERO { 256.0 / range.to_f32() } else { 0.0 };
    for (value, code) in values.zip(codes) {
        *code = ((value - least) * parts).clamp(0.0, 255.0) as u8;
    }
    [f16::from_f32(least), range]
}

/// Which numbers codes mean, as shares of the range of their row.
///
/// The middle of a code's part would be nearest to the numbers in it. But few numbers lie at the
/// ends of a range, and all of them would be drawn inwards. Products would be too small, by 1 to
/// 2 % at 4 bits, and a softmax over them too flat. So codes lie further apart: the first and the
/// last are 3/8 of a part from the ends, 7/16 at 2 bits, and not 1/2 (measured in docs/lab,
/// `kv-codes`).
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Where the code 0 lies.
    pub first: f32,
    /// From one code to the next.
    pub step: f32,
}

impl Places {
    /// Of codes of `bits` bits.
    pub const fn of(bits: u32) -> Self {
        let parts = (1u32 << bits) as f32;
        let first = if bits == 2 { 0.4375 } else { 0.375 } / parts;
        Self { first, step: (1.0 - 2.0 * first) / (parts - 1.0) }
    }
}

/// The number that a code stands for in a row.
pub fn value([lowest, range]: [f16; 2], bits: u32, code: u8) -> f32 {
    let Places { first, step } = Places::of(bits);
    lowest.to_f32() + range.to_f32() * (first + step * f32::from(code))
}

/// Writes one unit of a group: `codes` of 8 bits are `[rows, columns]`, and only the unit's bits of
/// them are kept.
///
/// # Panics
/// If the codes are not `rows` rows, or the unit has not its length.
pub fn pack_unit(unit: usize, rows: usize, codes: &[u8], out: &mut [u8]) {
    let columns = codes.len() / rows;
    let bytes = CodeGroup::unit_bytes(rows, columns);
    assert!(codes.len() == rows * columns && out.len() == bytes && unit < UNITS_MAX, "one group");
    // The unit's plane: its first unit, its width, and how far its bits are from the lowest.
    let (first, width, shift) =
        [(0, 2, 6), (0, 2, 6), (2, 1, 5), (3, 1, 4), (4, 2, 2), (4, 2, 2), (6, 2, 0), (6, 2, 0)]
            [unit];
    out.fill(0);
    for (row, codes) in codes.chunks_exact(columns).enumerate() {
        for (column, &code) in codes.iter().enumerate() {
            let tile = column / TILE_COLUMNS * (rows / TILE_ROWS) + row / TILE_ROWS;
            let (vector, byte) = place(row, column);
            let (owner, field) = field(first, width, vector);
            if owner == unit {
                out[tile * TILE_UNIT_BYTES + byte] |= (code >> shift & ((1 << width) - 1)) << field;
            }
        }
    }
}

/// Vector and byte of a code in its tile.
const fn place(row: usize, column: usize) -> (usize, usize) {
    let vector = row % TILE_ROWS / 2 * 2 + column % TILE_COLUMNS / 16;
    (vector, column % 16 * 2 + row % 2)
}

/// Calls `visit(first unit, width)` for every plane of codes of `bits` bits.
fn for_each_plane(bits: u32, mut visit: impl FnMut(usize, u32)) {
    for (first, width) in [(0, 2), (2, 1), (3, 1), (4, 2), (6, 2)] {
        if first < bits as usize {
            visit(first, width);
        }
    }
}

/// The unit and the bit that hold a vector's part of a plane.
const fn field(first: usize, width: u32, vector: usize) -> (usize, usize) {
    if width == 1 { (first, vector) } else { (first + vector / 4, vector % 4 * 2) }
}

/// What a group's rows or columns are multiplied with, as integers: `input = code * scale`.
#[derive(Clone, Copy, Debug)]
pub struct Folded {
    /// Zero after the last.
    pub codes: [i16; GROUP_ROWS],
    /// The largest magnitude as a share of [`INPUT_MAX`].
    pub scale: f32,
}

impl Folded {
    /// All zero.
    pub const ZERO: Self = Self { codes: [0; GROUP_ROWS], scale: 0.0 };
}

/// Checks the lengths that [`crate::KernelTable::fold`] is given.
pub fn check_fold(inputs: &[f32], ranges: &[f16]) {
    assert!(inputs.len() == ranges.len() && inputs.len() <= GROUP_ROWS, "equal lengths, one group");
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn dropping_units_drops_the_lowest_bits() {
        let (rows, columns) = (16, 64);
        let codes: Vec<u8> = (0..rows * columns).map(|at| (at * 37 % 256) as u8).collect();
        let mut bytes = vec![vec![0xaa; CodeGroup::unit_bytes(rows, columns)]; UNITS_MAX];
        bytes.iter_mut().enumerate().for_each(|(unit, bytes)| pack_unit(unit, rows, &codes, bytes));
        for bits in CODE_BITS {
            let group = CodeGroup {
                bits,
                rows,
                columns,
                units: core::array::from_fn(|unit| &bytes[unit][..]),
            };
            group.check();
            for row in 0..rows {
                for column in 0..columns {
                    assert_eq!(
                        group.code(row, column),
                        codes[row * columns + column] >> (8 - bits),
                        "{bits} bits"
                    );
                }
            }
        }
    }

    /// Rows of 64 numbers, nearly normal: the numbers that codes stand for vary as much with
    /// them as they do themselves.
    #[test]
    fn products_with_codes_are_not_too_small() {
        let mut state = 7u64;
        let mut uniform = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        let rows: Vec<[f32; GROUP_ROWS]> =
            (0..500).map(|_| core::array::from_fn(|_| (0..6).map(|_| uniform()).sum())).collect();
        for (bits, most) in [(2, 0.03), (3, 0.015), (4, 0.01), (6, 0.005), (8, 0.005)] {
            let (mut products, mut squares) = (0.0, 0.0);
            for row in &rows {
                let mut codes = [0; GROUP_ROWS];
                let scale = quantize_row(row.iter().copied(), &mut codes);
                for (&x, code) in row.iter().zip(codes) {
                    products += f64::from(x * value(scale, bits, code >> (8 - bits)));
                    squares += f64::from(x * x);
                }
            }
            let slope = products / squares;
            assert!((slope - 1.0).abs() < most, "{bits} bits: {slope}");
        }
    }
}
