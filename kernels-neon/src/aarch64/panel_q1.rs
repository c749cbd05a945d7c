//! Panels of 1-bit codes times activations.

use std::arch::aarch64::*;

use hardtack_kernels::{Activations, PanelRows};

use super::codes::{BIT, BlockCodes, HEAD, eights, flip, quads};
use super::codes_neon::run;
use super::{codes_dotprod, codes_i8mm, codes_neon};

const REGISTERS: usize = HEAD + BIT;
/// Codes less this are what tests of bits give, so they need no shift.
const OFFSET: i32 = 1;

#[target_feature(enable = "neon")]
pub(super) fn neon(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    codes_neon::panel::<REGISTERS, OFFSET, { run(OFFSET) }>(panel, activations, first_token, out, |tile, block| {
        unpack(quads(tile, block))
    });
}

#[target_feature(enable = "neon,dotprod")]
pub(super) fn dotprod(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    codes_dotprod::panel::<REGISTERS, OFFSET>(panel, activations, first_token, out, |tile, block| {
        unpack(quads(tile, block))
    });
}

#[target_feature(enable = "neon,dotprod,i8mm")]
pub(super) fn i8mm(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    let done = codes_i8mm::panel::<REGISTERS, OFFSET>(panel, activations, first_token, out, |tile, block| {
        unpack(eights(tile, block))
    });
    dotprod(panel, activations, first_token + done, &mut out[done..]);
}

/// The codes of a block of rows of a tile, less [`OFFSET`].
#[inline]
#[target_feature(enable = "neon")]
fn unpack(plane: impl Fn(usize, usize) -> uint8x16_t) -> BlockCodes {
    let flipped = [0, 1].map(|at| flip(plane(0, at)));
    // All bits of a byte where the bit is zero, which is -1.
    let mut codes = [vdupq_n_s8(0); _];
    for (quad, codes) in codes.iter_mut().enumerate() {
        *codes = vreinterpretq_s8_u8(vtstq_u8(flipped[quad % 2], vdupq_n_u8(1 << (quad / 2))));
    }
    codes
}
