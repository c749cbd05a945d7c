//! Numbers that the kernels are tried with, matrices of them, and what scalar makes of both.

use half::f16;
use hardtack_format::Encoding;
use hardtack_kernels::pack::{pack_floats, pack_tile};
use hardtack_kernels::{Activations, scalar};

use super::devices::quantize;

/// Splitmix64 (Steele, Lea and Flood, 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from -2 to 2.
    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 22) as f32 - 2.0
    }

    pub fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }
}

/// A matrix in panels.
pub struct Matrix {
    pub encoding: Encoding,
    pub rows: usize,
    pub columns: usize,
    pub bytes: Vec<u8>,
}

impl Matrix {
    /// Random weights, those of the padding too.
    pub fn random(encoding: Encoding, rows: usize, columns: usize, random: &mut Random) -> Self {
        let panel_bytes = encoding.panel_bytes(columns as u32) as usize;
        let mut bytes = vec![0; rows.div_ceil(16) * panel_bytes];
        for panel in bytes.chunks_exact_mut(panel_bytes) {
            let Some(bits) = encoding.code_bits() else {
                pack_floats(encoding, &random.floats(16 * columns), columns, panel);
                continue;
            };
            for tile in panel.chunks_exact_mut(encoding.tile_bytes()) {
                let mut codes = [[0; 64]; 16];
                codes
                    .iter_mut()
                    .flatten()
                    .for_each(|code| *code = (random.next() as u8) >> (8 - bits));
                let mut halves = || std::array::from_fn(|_| f16::from_f32(random.float() * 0.1));
                let (scales, minima) = (halves(), halves());
                pack_tile(encoding, &codes, &scales, &minima, tile);
            }
        }
        Self { encoding, rows, columns, bytes }
    }

    /// `[tokens, rows]`: what scalar makes of rows of inputs.
    pub fn multiply(&self, floats: &[f32]) -> Vec<f32> {
        let tokens = floats.len() / self.columns;
        let inputs = quantize(tokens, self.columns, floats);
        let floats_of = |bits: &[u32]| bits.iter().copied().map(f32::from_bits).collect::<Vec<_>>();
        let (scales, sums) = (floats_of(&inputs.scales), floats_of(&inputs.sums));
        let codes: Vec<i8> = inputs.codes.iter().map(|code| code.cast_signed()).collect();
        let activations = Activations {
            columns: self.columns,
            floats,
            codes: &codes,
            scales: &scales,
            sums: &sums,
        };
        let mut out = vec![0.0; tokens * self.rows];
        let panel_bytes = self.encoding.panel_bytes(self.columns as u32) as usize;
        for (index, panel) in self.bytes.chunks_exact(panel_bytes).enumerate() {
            let mut results = vec![[0.0; 16]; tokens];
            scalar::TABLE.panel(self.encoding)(panel, &activations, 0, &mut results);
            for (token, values) in results.iter().enumerate() {
                for (row, value) in (index * 16..self.rows.min(index * 16 + 16)).zip(values) {
                    out[token * self.rows + row] = *value;
                }
            }
        }
        out
    }

    /// Whether a kernel must agree with scalar to the bit.
    pub fn is_exact(&self) -> bool {
        self.encoding.code_bits().is_some()
    }
}

/// Holds numbers to others: to the bit, or within a share of `size`, the size of what was added up.
#[track_caller]
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], exact: bool, size: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = if exact { 0.0 } else { size * 1e-5 };
        assert!(
            found.to_bits() == expected.to_bits() || (found - expected).abs() <= off,
            "{what}: number {index} is {found:e}, not {expected:e} within {off:e}"
        );
    }
}

/// Holds numbers to others to the bit.
#[track_caller]
pub fn assert_same(what: &str, found: &[f32], expected: &[f32]) {
    assert_close(what, found, expected, true, 0.0);
}
