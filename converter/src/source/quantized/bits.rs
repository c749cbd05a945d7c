//! Codes of up to eight bits, unpacked from the words that quantizers pack them into.
//!
//! All of them keep words little-endian and the first code in the lowest bits, so that a row of
//! codes is one stream of bits. They differ in what follows what: along a row, down a column, or in
//! an order of their own.

use std::ops::Range;

use super::super::{SourceError, TensorInfo};
use super::stored::Stored;

/// In which order a word holds the columns that follow each other (AutoAWQ's gemm kernels want it
/// so): column `c` of eight is nibble `AWQ_NIBBLES[c]`.
const AWQ_NIBBLES: [u32; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
const WORD_BITS: usize = 32;
const WORD_BYTES: usize = WORD_BITS / 8;

/// A stored matrix of codes `[rows, columns]`.
#[derive(Clone, Debug)]
pub(super) struct Codes {
    pub tensor: TensorInfo,
    pub rows: usize,
    pub columns: usize,
    pub bits: usize,
    pub order: Order,
}

/// What follows what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The codes of a row follow each other without a gap.
    Along,
    /// As many codes of a row in a word as fit whole; the rest of its bits is unused.
    AlongWhole,
    /// The codes of a column follow each other without a gap, through the words of that column.
    Down,
    /// As many codes of a column in a word as fit whole.
    DownWhole,
    /// Eight codes of a row in a word, in AWQ's order.
    Awq,
}

impl Codes {
    /// Bytes that such a matrix takes.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        let words = match self.order {
            Order::Along => return self.rows * (self.columns * self.bits).div_ceil(8),
            Order::AlongWhole => self.rows * self.columns.div_ceil(WORD_BITS / self.bits),
            Order::Down => (self.rows * self.bits).div_ceil(WORD_BITS) * self.columns,
            Order::DownWhole => self.rows.div_ceil(WORD_BITS / self.bits) * self.columns,
            Order::Awq => self.rows * self.columns.div_ceil(AWQ_NIBBLES.len()),
        };
        words * WORD_BYTES
    }

    /// The codes of a rectangle, row-major; only the bytes that hold them are read.
    pub fn read(
        &self,
        stored: Stored<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Result<Vec<u8>, SourceError> {
        match self.order {
            Order::Along => self.along(stored, rows, columns),
            Order::AlongWhole => {
                self.in_words(stored, rows, columns, WORD_BITS / self.bits, |place| place as u32)
            }
            Order::Down => {
                let place = |row: usize| (row * self.bits / WORD_BITS, row * self.bits % WORD_BITS);
                self.down(stored, rows, columns, place)
            }
            Order::DownWhole => {
                let each = WORD_BITS / self.bits;
                self.down(stored, rows, columns, |row| (row / each, row % each * self.bits))
            }
            Order::Awq => {
                self.in_words(stored, rows, columns, AWQ_NIBBLES.len(), |place| AWQ_NIBBLES[place])
            }
        }
    }

    fn mask(&self) -> u32 {
        (1 << self.bits) - 1
    }

    fn along(
        &self,
        stored: Stored<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Result<Vec<u8>, SourceError> {
        let row_bytes = self.tensor.bytes as usize / self.rows;
        let first_bit = columns.start * self.bits;
        let bytes = first_bit / 8..(columns.end * self.bits).div_ceil(8);
        let packed = stored.rectangle(&self.tensor, row_bytes, rows.clone(), bytes.clone())?;
        if self.bits == 8 {
            return Ok(packed);
        }
        let mut codes = Vec::with_capacity(rows.len() * columns.len());
        for row in packed.chunks_exact(bytes.len()) {
            let mut bit = first_bit - 8 * bytes.start;
            for _ in columns.clone() {
                let low = u32::from(row[bit / 8]);
                let high = row.get(bit / 8 + 1).map_or(0, |byte| u32::from(*byte));
                codes.push((((high << 8 | low) >> (bit % 8)) & self.mask()) as u8);
                bit += self.bits;
            }
        }
        Ok(codes)
    }

    /// `each` codes to a word, of which the one at a place is the `number_of(place)`th from the
    /// lowest bits.
    fn in_words(
        &self,
        stored: Stored<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
        each: usize,
        number_of: impl Fn(usize) -> u32,
    ) -> Result<Vec<u8>, SourceError> {
        let row_bytes = self.columns.div_ceil(each) * WORD_BYTES;
        let first = columns.start / each;
        let bytes = first * WORD_BYTES..columns.end.div_ceil(each) * WORD_BYTES;
        let packed = stored.rectangle(&self.tensor, row_bytes, rows.clone(), bytes.clone())?;
        let mut codes = Vec::with_capacity(rows.len() * columns.len());
        for row in packed.chunks_exact(bytes.len()) {
            let words = row.as_chunks().0;
            for column in columns.clone() {
                let word = u32::from_le_bytes(words[column / each - first]);
                codes.push(
                    ((word >> (number_of(column % each) * self.bits as u32)) & self.mask()) as u8,
                );
            }
        }
        Ok(codes)
    }

    /// `place` says in which word of its column a code begins, and at which bit of it.
    fn down(
        &self,
        stored: Stored<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
        place: impl Fn(usize) -> (usize, usize),
    ) -> Result<Vec<u8>, SourceError> {
        let width = columns.len();
        if rows.is_empty() || width == 0 {
            return Ok(Vec::new());
        }
        let (last_word, last_bit) = place(rows.end - 1);
        let words = place(rows.start).0..last_word + (last_bit + self.bits).div_ceil(WORD_BITS);
        let bytes = columns.start * WORD_BYTES..columns.end * WORD_BYTES;
        let packed =
            stored.rectangle(&self.tensor, self.columns * WORD_BYTES, words.clone(), bytes)?;
        let packed = packed.as_chunks().0;
        let word_at = |word: usize, column: usize| {
            u64::from(
                packed
                    .get((word - words.start) * width + column)
                    .map_or(0, |word| u32::from_le_bytes(*word)),
            )
        };
        let mut codes = Vec::with_capacity(rows.len() * width);
        for row in rows {
            let (word, shift) = place(row);
            for column in 0..width {
                let both = word_at(word, column) | word_at(word + 1, column) << WORD_BITS;
                codes.push(((both >> shift) as u32 & self.mask()) as u8);
            }
        }
        Ok(codes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::super::ElementKind;
    use super::super::super::file::SourceFile;
    use super::*;

    fn value(row: usize, column: usize, bits: usize) -> u32 {
        ((row * 31 + column * 7 + 3) as u32).wrapping_mul(2_654_435_761) >> (32 - bits)
    }

    /// Bytes in which `place` says at which bit of the whole stream of words each code is.
    fn packed(codes: &Codes, place: impl Fn(usize, usize) -> usize) -> Vec<u8> {
        let mut bytes = vec![0u8; codes.bytes() + 1];
        for row in 0..codes.rows {
            for column in 0..codes.columns {
                for bit in 0..codes.bits {
                    let at = place(row, column) + bit;
                    bytes[at / 8] |=
                        (((value(row, column, codes.bits) >> bit) & 1) as u8) << (at % 8);
                }
            }
        }
        bytes.truncate(codes.bytes());
        bytes
    }

    fn check(mut codes: Codes, bytes: &[u8]) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[b"head", bytes].concat()).unwrap();
        let sources = [SourceFile::open(file.path()).unwrap()];
        codes.tensor.bytes = bytes.len() as u64;
        let (rows, columns) = (codes.rows, codes.columns);
        for (rows, columns) in
            [(0..rows, 0..columns), (1..2, 3..5), (rows - 1..rows, 0..1), (0..3, 8..columns)]
        {
            let found = codes.read(Stored::of(&sources), rows.clone(), columns.clone()).unwrap();
            let expected: Vec<u8> = rows
                .flat_map(|row| columns.clone().map(move |column| (row, column)))
                .map(|(row, column)| value(row, column, codes.bits) as u8)
                .collect();
            assert_eq!(found, expected, "{codes:?}");
        }
    }

    fn codes(bits: usize, order: Order) -> Codes {
        let shape = vec![1];
        let tensor = TensorInfo {
            name: "q".into(),
            shape,
            kind: ElementKind::U8,
            file: 0,
            offset: 4,
            bytes: 0,
        };
        Codes { tensor, rows: 64, columns: 40, bits, order }
    }

    #[test]
    fn codes_of_every_width_come_back_in_every_order() {
        for bits in 1..=8 {
            let along = codes(bits, Order::Along);
            let row_bits = (along.columns * bits).div_ceil(8) * 8;
            check(along.clone(), &packed(&along, |row, column| row * row_bits + column * bits));

            let whole = codes(bits, Order::AlongWhole);
            let each = 32 / bits;
            let row_bits = whole.columns.div_ceil(each) * 32;
            let place = |row, column| row * row_bits + column / each * 32 + column % each * bits;
            check(whole.clone(), &packed(&whole, place));
        }
        let awq = codes(4, Order::Awq);
        // The nibbles of a word hold the columns 0, 2, 4, 6, 1, 3, 5, 7.
        let nibble = |column: usize| {
            [0, 2, 4, 6, 1, 3, 5, 7].iter().position(|own| *own == column % 8).unwrap()
        };
        check(
            awq.clone(),
            &packed(&awq, |row, column| row * 160 + column / 8 * 32 + nibble(column) * 4),
        );
    }

    #[test]
    fn codes_down_a_column_cross_its_words() {
        for bits in 1..=8 {
            let codes = codes(bits, Order::Down);
            let mut bytes = vec![0u8; codes.bytes()];
            for column in 0..codes.columns {
                for row in 0..codes.rows {
                    for bit in 0..bits {
                        let (word, inside) = ((row * bits + bit) / 32, (row * bits + bit) % 32);
                        let at = (word * codes.columns + column) * 4 + inside / 8;
                        bytes[at] |=
                            (((value(row, column, bits) >> bit) & 1) as u8) << (inside % 8);
                    }
                }
            }
            check(codes, &bytes);
        }
    }

    #[test]
    fn codes_down_a_column_may_leave_bits_unused() {
        let codes = codes(3, Order::DownWhole);
        let mut bytes = vec![0u8; codes.bytes()];
        for column in 0..codes.columns {
            for row in 0..codes.rows {
                let at = (row / 10 * codes.columns + column) * 4;
                let word = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
                let word = word | value(row, column, 3) << (row % 10 * 3);
                bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
        }
        check(codes, &bytes);
    }
}
