//! A chunk of a ring, as one finds it: exact or in codes.

use hardtack_kernels::nested::UNITS_MAX;

use super::ladder::{Level, RUNGS_MAX};
use super::shape::PARTS_MAX;

/// A chunk in codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Which chunk of the text.
    pub chunk: u32,
    /// How far it has come down the ladder.
    pub(super) rung: u32,
    /// Bits of its codes on every rung.
    pub(super) levels: [Level; RUNGS_MAX],
    /// Where its lowest values and ranges are.
    pub entry: u32,
    /// Where its codes are, the first units of each part.
    pub units: [[u32; UNITS_MAX]; PARTS_MAX],
}

impl Sealed {
    /// Bits of its codes.
    pub const fn level(&self) -> Level {
        self.levels[self.rung as usize]
    }

    /// Numbers of the units of a part.
    pub fn units(&self, part: usize) -> &[u32] {
        &self.units[part][..self.level().0[part] as usize]
    }
}

/// A chunk that a token may see.
#[derive(Clone, Copy, Debug)]
pub enum Chunk<'a> {
    /// As it came, in f16 or f32: which chunk of the text.
    Exact(usize),
    /// In codes.
    Sealed(&'a Sealed),
}

impl Chunk<'_> {
    /// Which chunk of the text.
    pub const fn index(&self) -> usize {
        match self {
            Self::Exact(index) => *index,
            Self::Sealed(sealed) => sealed.chunk as usize,
        }
    }
}
