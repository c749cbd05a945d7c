//! The numbers that tiers are tried with.

use alloc::vec;
use alloc::vec::Vec;

use half::f16;
use hardtack_format::encoding::{Encoding, GROUP_COLUMNS, PANEL_ROWS};

use crate::activations::{Activations, ActivationsMut, groups};
use crate::pack::{pack_floats, pack_tile};
use crate::scalar;

/// Kinds of data, each after a mistake of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Of both signs, about 1.
    Ordinary,
    /// All as large as they get and of one sign: what overflows narrow sums.
    Largest,
    /// Activations are zero.
    Zero,
    /// Denormals and numbers just above them.
    Tiny,
    /// Far from 1, without overflowing a float.
    Huge,
}

impl Data {
    pub const ALL: [Self; 5] = [Self::Ordinary, Self::Largest, Self::Zero, Self::Tiny, Self::Huge];

    /// The kind for numbers that are kept as f16, which cannot hold the huge ones.
    pub fn of_f16(self) -> Self {
        if self == Self::Huge { Self::Ordinary } else { self }
    }
}

/// Activations that own their numbers.
pub struct Inputs {
    pub columns: usize,
    pub floats: Vec<f32>,
    codes: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<f32>,
}

impl Inputs {
    pub fn new(columns: usize, tokens: usize, data: Data) -> Self {
        let groups = groups(columns);
        let mut random = Random(columns as u64);
        let mut floats = random.floats(columns * tokens, data);
        if data == Data::Largest {
            // One token positive, the next negative, so that codes are all 127 or all -127.
            for (at, value) in floats.iter_mut().enumerate() {
                *value = if (at / columns).is_multiple_of(2) { 1.5 } else { -1.5 };
            }
        }
        let (mut codes, mut scales, mut sums) = (
            vec![0; tokens * groups * GROUP_COLUMNS],
            vec![0.0; tokens * groups],
            vec![0.0; tokens * groups],
        );
        for token in 0..tokens {
            let span = token * groups..(token + 1) * groups;
            (scalar::TABLE.quantize)(ActivationsMut {
                floats: &floats[token * columns..(token + 1) * columns],
                codes: &mut codes[span.start * GROUP_COLUMNS..span.end * GROUP_COLUMNS],
                scales: &mut scales[span.clone()],
                sums: &mut sums[span],
            });
        }
        Self { columns, floats, codes, scales, sums }
    }

    pub fn view(&self) -> Activations<'_> {
        let Self { columns, floats, codes, scales, sums } = self;
        Activations { columns: *columns, floats, codes, scales, sums }
    }

    pub fn token(&self, token: usize) -> &[f32] {
        &self.floats[token * self.columns..(token + 1) * self.columns]
    }
}

/// A panel of this encoding, its padding filled too.
pub fn panel(encoding: Encoding, columns: usize, data: Data) -> Vec<u8> {
    let mut random = Random(columns as u64 * 31 + encoding as u64);
    let mut out = vec![0; encoding.panel_bytes(columns as u32) as usize];
    let Some(bits) = encoding.code_bits() else {
        let weights = random.floats(PANEL_ROWS * columns, data.of_f16());
        pack_floats(encoding, &weights, columns, &mut out);
        return out;
    };
    let code_max = ((1_u32 << bits) - 1) as u8;
    for tile in out.chunks_exact_mut(encoding.tile_bytes()) {
        let mut codes = [[code_max; GROUP_COLUMNS]; PANEL_ROWS];
        if data != Data::Largest {
            for code in codes.iter_mut().flatten() {
                *code = random.next() as u8 & code_max;
            }
        }
        let mut halves = || {
            let values = random.floats(PANEL_ROWS, data.of_f16());
            core::array::from_fn(|row| f16::from_f32(values[row]))
        };
        let (scales, minima) = (halves(), halves());
        pack_tile(encoding, &codes, &scales, &minima, tile);
    }
    out
}

/// Splitmix64 (Steele, Lea and Flood, 2014).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// Evenly from -2 to 2.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 22) as f32 - 2.0
    }

    pub fn floats(&mut self, count: usize, data: Data) -> Vec<f32> {
        let value = |at: usize| match data {
            Data::Ordinary => self.float(),
            Data::Largest => 60000.0,
            Data::Zero => 0.0,
            // Half's denormals and float's, in turns.
            Data::Tiny => self.float() * if at.is_multiple_of(2) { 1e-7 } else { 1e-39 },
            Data::Huge => self.float() * 1e17,
        };
        (0..count).map(value).collect()
    }
}
