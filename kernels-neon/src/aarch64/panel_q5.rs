//! Panels of 5-bit codes times activations: a plane of the low four bits, one of the high bit.

use std::arch::aarch64::*;

use hardtack_kernels::{Activations, PanelRows};

use super::codes::{BIT, BlockCodes, HEAD, eights, flip, insert, quads};
use super::codes_neon::run;
use super::{codes_dotprod, codes_i8mm, codes_neon};

const REGISTERS: usize = HEAD + 5 * BIT;
/// What the high bit counts. Codes less this need its inverse copied above the low bits, and so no
/// shift for it: Arm's cores shift in half of their vector pipes.
const OFFSET: i32 = 16;

#[target_feature(enable = "neon")]
pub(super) fn neon(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    codes_neon::panel::<REGISTERS, OFFSET, { run(OFFSET) }>(
        panel,
        activations,
        first_token,
        out,
        |tile, block| unpack(quads(tile, block)),
    );
}

#[target_feature(enable = "neon,dotprod")]
pub(super) fn dotprod(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    codes_dotprod::panel::<REGISTERS, OFFSET>(
        panel,
        activations,
        first_token,
        out,
        |tile, block| unpack(quads(tile, block)),
    );
}

#[target_feature(enable = "neon,dotprod,i8mm")]
pub(super) fn i8mm(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    let done = codes_i8mm::panel::<REGISTERS, OFFSET>(
        panel,
        activations,
        first_token,
        out,
        |tile, block| unpack(eights(tile, block)),
    );
    dotprod(panel, activations, first_token + done, &mut out[done..]);
}

/// The codes of a block of rows of a tile, less [`OFFSET`].
#[inline]
#[target_feature(enable = "neon")]
fn unpack(plane: impl Fn(usize, usize) -> uint8x16_t) -> BlockCodes {
    let mut codes = [vdupq_n_s8(0); _];
    // As a mask: of a code below `OFFSET`, the bits above the low four, which are then its sign.
    let high = [0, 1].map(|vector| flip(plane(4, vector)));
    for vector in 0..8 {
        let low = plane(0, vector);
        let sign = |quad: usize| vtstq_u8(high[quad % 2], vdupq_n_u8(1 << (quad / 2)));
        codes[vector] = vreinterpretq_s8_u8(insert(sign(vector), low, vdupq_n_u8(15)));
        codes[vector + 8] = vreinterpretq_s8_u8(vsriq_n_u8::<4>(sign(vector + 8), low));
    }
    codes
}
