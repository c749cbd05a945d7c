//! How a block of bytes means numbers: the encodings and the geometry of their tiles.
//!
//! A matrix is cut into panels of 16 rows. A panel of floats holds its columns one after another,
//! 16 rows each. A panel of integer codes holds tiles of 16 rows by 64 columns (the last one
//! padded), each of them
//!
//! ```text
//! scales  [16] f16      value = scale * code + minimum, code in 0 .. 2^bits
//! minima  [16] f16
//! planes  of 4, 2 or 1 bits (8 bits: one plane of whole bytes), widest first
//! ```
//!
//! In every plane *four consecutive columns of one row sit in one 32-bit lane* ("a quad"). A plane
//! of `w` bits is a row of 64-byte vectors (16 rows x one quad, a byte per column); with `f = 8 /
//! w` fields per byte, vector `v` holds in its field `i` (bits `i*w` up) the quad `v + i * (16 /
//! f)`, that is the columns `4 * (v + i * 16 / f) + 0..4`.

/// Rows of a panel and of a tile.
pub const PANEL_ROWS: usize = 16;
/// Columns of a tile of integer codes; each row of a tile has one scale and one minimum.
pub const GROUP_COLUMNS: usize = 64;
/// Consecutive columns of one row in a 32-bit lane.
pub const QUAD_COLUMNS: usize = 4;
/// Quads of a tile's row.
pub const GROUP_QUADS: usize = GROUP_COLUMNS / QUAD_COLUMNS;
/// Bytes of the scales and minima of a tile.
pub const TILE_HEAD_BYTES: usize = PANEL_ROWS * 4;
/// Bytes that one bit of the code takes in a tile.
pub const TILE_BIT_BYTES: usize = PANEL_ROWS * GROUP_COLUMNS / 8;

const _: () = assert!(TILE_HEAD_BYTES == 64 && TILE_BIT_BYTES == 128);

/// An encoding. The numbers are part of the format and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum Encoding {
    /// 32-bit floats, row after row, unpadded: for vectors.
    Plain = 0,
    /// 32-bit floats in panels.
    F32 = 1,
    /// IEEE f16 in panels.
    F16 = 2,
    /// bfloat16 in panels.
    Bf16 = 3,
    /// 1-bit codes in tiles: each weight is its row's minimum, or that and the scale.
    Q1 = 17,
    /// 2-bit codes in tiles.
    Q2 = 18,
    /// 3-bit codes in tiles.
    Q3 = 19,
    /// 4-bit codes in tiles.
    Q4 = 20,
    /// 5-bit codes in tiles.
    Q5 = 21,
    /// 6-bit codes in tiles.
    Q6 = 22,
    /// 8-bit codes in tiles.
    Q8 = 24,
}

impl Encoding {
    /// The encodings a matrix can have, in the order of [`Encoding::slot`].
    pub const MATRICES: [Self; 10] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q1,
        Self::Q2,
        Self::Q3,
        Self::Q4,
        Self::Q5,
        Self::Q6,
        Self::Q8,
    ];

    /// The encoding with this number in the format.
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::Plain,
            1 => Self::F32,
            2 => Self::F16,
            3 => Self::Bf16,
            17 => Self::Q1,
            18 => Self::Q2,
            19 => Self::Q3,
            20 => Self::Q4,
            21 => Self::Q5,
            22 => Self::Q6,
            24 => Self::Q8,
            _ => return None,
        })
    }

    /// The encoding with this name, as [`Encoding::name`] returns it, or with this number of bits
    /// ("4").
    pub fn from_name(name: &str) -> Option<Self> {
        Self::MATRICES.into_iter().find(|encoding| {
            let own = encoding.name();
            own == name || (encoding.code_bits().is_some() && &own[1..] == name)
        })
    }

    /// Its name: `plain`, `f32`, `f16`, `bf16`, `q1` to `q8`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q1 => "q1",
            Self::Q2 => "q2",
            Self::Q3 => "q3",
            Self::Q4 => "q4",
            Self::Q5 => "q5",
            Self::Q6 => "q6",
            Self::Q8 => "q8",
        }
    }

    /// Bits of an integer code; none for floats.
    pub const fn code_bits(self) -> Option<u32> {
        match self {
            Self::Q1 => Some(1),
            Self::Q2 => Some(2),
            Self::Q3 => Some(3),
            Self::Q4 => Some(4),
            Self::Q5 => Some(5),
            Self::Q6 => Some(6),
            Self::Q8 => Some(8),
            Self::Plain | Self::F32 | Self::F16 | Self::Bf16 => None,
        }
    }

    /// Place in a table with one entry for each matrix encoding; none for [`Encoding::Plain`].
    pub const fn slot(self) -> Option<usize> {
        match self {
            Self::Plain => None,
            Self::F32 => Some(0),
            Self::F16 => Some(1),
            Self::Bf16 => Some(2),
            Self::Q1 => Some(3),
            Self::Q2 => Some(4),
            Self::Q3 => Some(5),
            Self::Q4 => Some(6),
            Self::Q5 => Some(7),
            Self::Q6 => Some(8),
            Self::Q8 => Some(9),
        }
    }

    /// Bytes of one float, 0 for codes.
    const fn float_bytes(self) -> u64 {
        match self {
            Self::Plain | Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            _ => 0,
        }
    }

    /// Bytes of one tile of integer codes, 0 for floats.
    pub const fn tile_bytes(self) -> usize {
        match self.code_bits() {
            Some(bits) => TILE_HEAD_BYTES + TILE_BIT_BYTES * bits as usize,
            None => 0,
        }
    }

    /// Widths of the planes of a tile, widest first, each with its offset in the tile: `(bits,
    /// offset)`.
    pub const fn planes(self) -> &'static [(u32, usize)] {
        const HEAD: usize = TILE_HEAD_BYTES;
        const BIT: usize = TILE_BIT_BYTES;
        match self {
            Self::Q1 => &[(1, HEAD)],
            Self::Q2 => &[(2, HEAD)],
            Self::Q3 => &[(2, HEAD), (1, HEAD + 2 * BIT)],
            Self::Q4 => &[(4, HEAD)],
            Self::Q5 => &[(4, HEAD), (1, HEAD + 4 * BIT)],
            Self::Q6 => &[(4, HEAD), (2, HEAD + 4 * BIT)],
            Self::Q8 => &[(8, HEAD)],
            Self::Plain | Self::F32 | Self::F16 | Self::Bf16 => &[],
        }
    }

    /// Bytes of one panel of 16 rows with this many columns. Cannot overflow for columns within
    /// `DIMENSION_MAX`.
    pub const fn panel_bytes(self, columns: u32) -> u64 {
        match self.code_bits() {
            Some(_) => (columns as u64).div_ceil(GROUP_COLUMNS as u64) * self.tile_bytes() as u64,
            None => columns as u64 * PANEL_ROWS as u64 * self.float_bytes(),
        }
    }

    /// Bytes of a tensor of `stack` matrices, or none where the number does not fit.
    pub const fn tensor_bytes(self, stack: u32, rows: u32, columns: u32) -> Option<u64> {
        match self {
            Self::Plain => match (stack as u64).checked_mul(rows as u64) {
                Some(all_rows) => match all_rows.checked_mul(columns as u64) {
                    Some(count) => count.checked_mul(4),
                    None => None,
                },
                None => None,
            },
            _ => {
                let panels = (rows as u64).div_ceil(PANEL_ROWS as u64);
                match panels.checked_mul(stack as u64) {
                    Some(all_panels) => all_panels.checked_mul(self.panel_bytes(columns)),
                    None => None,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_slots_agree() {
        for number in 0..=u16::MAX {
            if let Some(encoding) = Encoding::from_number(number) {
                assert_eq!(encoding as u16, number);
            }
        }
        for (slot, encoding) in Encoding::MATRICES.into_iter().enumerate() {
            assert_eq!(encoding.slot(), Some(slot));
            assert_eq!(Encoding::from_name(encoding.name()), Some(encoding));
        }
        assert_eq!(Encoding::from_name("4"), Some(Encoding::Q4));
        assert_eq!(Encoding::from_name("16"), None);
    }

    #[test]
    fn planes_fill_the_tile() {
        for encoding in Encoding::MATRICES {
            let Some(bits) = encoding.code_bits() else { continue };
            let mut offset = TILE_HEAD_BYTES;
            let mut sum = 0;
            for &(width, at) in encoding.planes() {
                assert_eq!(at, offset);
                offset += width as usize * TILE_BIT_BYTES;
                sum += width;
            }
            assert_eq!((sum, offset), (bits, encoding.tile_bytes()));
        }
    }

    #[test]
    fn bytes_of_known_shapes() {
        // SmolLM2's 576 x 1536 at 4 bits: 36 panels of 24 tiles of 576 bytes.
        assert_eq!(Encoding::Q4.tensor_bytes(1, 576, 1536), Some(36 * 24 * 576));
        assert_eq!(Encoding::F32.tensor_bytes(1, 17, 3), Some(2 * 16 * 3 * 4));
        assert_eq!(Encoding::Plain.tensor_bytes(1, 1, 5), Some(20));
    }
}
